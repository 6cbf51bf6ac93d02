//! What a look at the cluster shows to this identity: brokers, and the broker's own settings where it may see them.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    error::KafkaError,
};

use crate::{
    Client, Error,
    config::{Role, settings},
    context::Plain,
    error::Cause,
    refusal::Subject,
    topics,
};

/// The cluster as one identity sees it.
#[derive(Debug)]
pub struct Cluster {
    pub brokers: usize,
    /// Settings of one broker; none when this identity may not see them, which needs rights on the cluster itself.
    pub settings: Option<BTreeMap<String, String>>,
}

/// Asks the brokers; gives up after `patience`.
///
/// # Errors
/// When they do not answer or do not let this identity in.
pub async fn look(client: &Client, patience: Duration) -> Result<Cluster, Error> {
    let admin: AdminClient<Plain> = settings(client, &Role::Admin)?
        .create_with_context(Plain::of(client))
        .map_err(|source| Error::Settings { what: "creating an admin client".to_owned(), source: Cause::new(source).into() })?;
    let asking = client.clone();
    let (admin, brokers) = tokio::task::spawn_blocking(move || {
        let metadata = topics::metadata(&topics::asking(&asking)?, &asking.brokers, patience)?;
        let ids: Vec<i32> = metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id).collect();
        Ok::<_, Error>((admin, ids))
    })
    .await
    .map_err(|_| Error::Stopped { what: "asking the brokers" })??;
    let settings = match brokers.first() {
        Some(id) => own_settings(client, &admin, *id, patience).await?,
        None => None,
    };
    Ok(Cluster { brokers: brokers.len(), settings })
}

async fn own_settings(
    client: &Client,
    admin: &AdminClient<Plain>,
    broker: i32,
    patience: Duration,
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let options = AdminOptions::new().request_timeout(Some(patience));
    let described = admin
        .describe_configs([&ResourceSpecifier::Broker(broker)], &options)
        .await
        .map_err(|source| client.board.error("describing a broker", source, Subject::Cluster))?;
    let mut found = None;
    for resource in described {
        match resource {
            Ok(resource) => {
                let entries = resource.entries.into_iter().filter_map(|entry| entry.value.map(|value| (entry.name, value)));
                found = Some(entries.collect());
            }
            Err(rdkafka::error::RDKafkaErrorCode::ClusterAuthorizationFailed) => {}
            Err(code) => return Err(Error::unreachable("describing a broker", KafkaError::AdminOp(code))),
        }
    }
    Ok(found)
}
