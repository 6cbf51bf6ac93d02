//! Which registry it is, as far as its own paths tell: people want to know whose habits they live with. Nothing acts on it.

use serde::Deserialize;

use crate::client::Client;

#[derive(Deserialize)]
struct Apicurio {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Confluent {
    version: String,
}

/// A name with a version where it gives one.
pub(crate) async fn kind(client: &Client) -> String {
    for url in client.urls() {
        // Apicurio serves Confluent's API below a path of its own.
        if let Some((root, _)) = url.split_once("/apis/ccompat") {
            for generation in ["v3", "v2"] {
                if let Some(info) = client.peek::<Apicurio>(&format!("{root}/apis/registry/{generation}/system/info")).await {
                    return format!("{} {}", info.name, info.version);
                }
            }
            return "Apicurio".to_owned();
        }
        if let Some(found) = client.peek::<Confluent>(&format!("{url}/v1/metadata/version")).await {
            return format!("Confluent {}", found.version);
        }
        if client.peek::<serde_json::Value>(&format!("{url}/_health")).await.is_some() {
            return "Karapace".to_owned();
        }
        if client.peek::<serde_json::Value>(&format!("{url}/status/ready")).await.is_some() {
            return "Redpanda".to_owned();
        }
    }
    "of a kind that does not name itself".to_owned()
}
