//! A record as it was read. Key, value and headers are copied out at once: a borrowed message pins its whole fetch batch (C16).

use std::sync::Arc;

use model::{Slot, Timestamp};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// Headers beyond this many, or beyond this many bytes, are left out (P24).
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// One record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// When the broker appended it (all topics are `LogAppendTime`).
    pub timestamp: Timestamp,
    pub key: Option<Vec<u8>>,
    /// None is a tombstone; an empty value is not.
    pub value: Option<Vec<u8>>,
    /// In the order written; names may repeat, the last one wins.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// Partition p of a topic belongs to slot p.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot(self.partition)
    }

    /// The key as text; None when it is missing or not UTF-8.
    #[must_use]
    pub fn key_text(&self) -> Option<&str> {
        self.key.as_deref().and_then(|key| std::str::from_utf8(key).ok())
    }

    /// The last value under this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(n, _)| n == name).and_then(|(_, value)| value.as_deref())
    }

    /// The last value under this name, where it is UTF-8.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// What it weighs in memory, near enough to bound queues.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + headers
    }
}

/// Copies messages out and shares one name per topic.
#[derive(Default)]
pub(crate) struct Copier {
    names: Vec<Arc<str>>,
}

impl Copier {
    pub(crate) fn copy(&mut self, message: &BorrowedMessage<'_>) -> Record {
        let mut headers = Vec::new();
        if let Some(all) = message.headers() {
            let mut bytes = 0;
            for header in all.iter() {
                bytes += header.key.len() + header.value.map_or(0, <[u8]>::len);
                if headers.len() == MAX_HEADERS || bytes > MAX_HEADER_BYTES {
                    break;
                }
                headers.push((header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
            }
        }
        Record {
            topic: self.name(message.topic()),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or_default()),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    fn name(&mut self, topic: &str) -> Arc<str> {
        if let Some(name) = self.names.iter().find(|name| &***name == topic) {
            return Arc::clone(name);
        }
        let name: Arc<str> = topic.into();
        self.names.push(Arc::clone(&name));
        name
    }
}
