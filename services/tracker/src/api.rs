//! The JSON API under `/api/v1`. Reads come from the store (eventually consistent: `X-Millrace-As-Of` says as of when), acts
//! become an audit entry and then a command on a topic.
//!
//! Without configured authentication the tracker listens on loopback only, and the actor is `local/` and the name that the
//! caller states in `X-Millrace-Actor`. Keys contain `/`, so a key travels as the query parameter `key`.
