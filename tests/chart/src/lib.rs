//! What the tests of the chart share: the real Helm, rendered and parsed manifests.
