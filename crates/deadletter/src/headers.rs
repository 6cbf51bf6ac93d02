//! Headers of a letter: ours, and the set of Spring's that stock tools look for. Replaced, never appended, so that they do not grow
//! over replays.

use std::collections::BTreeMap;

use model::DeadLetter;

/// Message texts are cut here.
pub const MESSAGE_BYTES: usize = 1024;
/// Payloads are cut here: a letter has to fit into a Kafka record with everything around it.
pub const PAYLOAD_BYTES: usize = 512 * 1024;

/// Headers that describe an earlier failure or an earlier trace: a letter and a replay start without them.
const STRIPPED: [&str; 5] = ["millrace-dlq-", "kafka_dlt-", "__connect.errors.", "__streams.errors.", "traceparent"];

/// The headers of a letter's record. Text is UTF-8; Spring's numbers are big-endian integers, as Spring writes them.
#[must_use]
pub fn headers(letter: &DeadLetter) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: Vec<u8>| headers.push((name.to_owned(), value));
    add("millrace-dlq-id", letter.id.0.clone().into_bytes());
    add("millrace-dlq-stage", letter.stage.name().into());
    if let Some(domain) = letter.domain {
        add("millrace-dlq-domain", domain.name().into());
    }
    add("millrace-dlq-class", letter.class.name().into());
    add("millrace-dlq-code", letter.code.clone().into_bytes());
    if let Some(topic) = &letter.topic {
        add("kafka_dlt-original-topic", topic.clone().into_bytes());
    }
    if let Some(partition) = letter.partition {
        add("kafka_dlt-original-partition", partition.to_be_bytes().to_vec());
    }
    if let Some(offset) = letter.offset {
        add("kafka_dlt-original-offset", offset.to_be_bytes().to_vec());
    }
    if let Some(timestamp) = letter.timestamp {
        add("kafka_dlt-original-timestamp", timestamp.millis().to_be_bytes().to_vec());
    }
    headers
}

/// What a letter keeps of the failed record's headers: the last value of each name that is text, without those of earlier failures.
#[must_use]
pub fn kept_headers<'a>(headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> BTreeMap<String, String> {
    headers
        .into_iter()
        .filter(|(name, _)| !STRIPPED.iter().any(|prefix| name.starts_with(prefix)))
        .filter_map(|(name, value)| Some((name.to_owned(), String::from_utf8(value?.to_vec()).ok()?)))
        .collect()
}

/// The payload as a letter carries it, and whether it was cut.
#[must_use]
pub fn clip_payload(mut payload: Vec<u8>) -> (Vec<u8>, bool) {
    let is_cut = payload.len() > PAYLOAD_BYTES;
    payload.truncate(PAYLOAD_BYTES);
    (payload, is_cut)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::state::tests::letter;

    #[test]
    fn a_letter_names_the_exact_source_record_for_stock_tools() {
        let letter = DeadLetter {
            topic: Some("mdm.golden.item".into()),
            partition: Some(3),
            offset: Some(1851),
            timestamp: Some(Timestamp::from_millis(1_795_000_000_123)),
            ..letter("mes-ulm/item/3@1851")
        };
        let headers: BTreeMap<_, _> = headers(&letter).into_iter().collect();
        let text = |name: &str| String::from_utf8(headers[name].clone()).unwrap();
        assert_eq!(text("millrace-dlq-id"), "mes-ulm/item/3@1851");
        assert_eq!((text("millrace-dlq-stage"), text("millrace-dlq-class")), ("deliver".into(), "refused".into()));
        assert_eq!(text("kafka_dlt-original-topic"), "mdm.golden.item");
        assert_eq!(headers["kafka_dlt-original-partition"], [0, 0, 0, 3]);
        assert_eq!(headers["kafka_dlt-original-offset"], [0, 0, 0, 0, 0, 0, 7, 59]);
        assert_eq!(headers["kafka_dlt-original-timestamp"], 1_795_000_000_123_i64.to_be_bytes());
    }

    #[test]
    fn headers_of_an_earlier_failure_are_left_behind() {
        let all = [
            ("ce_id", Some(&b"1"[..])),
            ("traceparent", Some(b"00-..")),
            ("millrace-dlq-code", Some(b"OLD")),
            ("kafka_dlt-exception-message", Some(b"secret")),
            ("__connect.errors.topic", Some(b"t")),
            ("binary", Some(b"\xff\xfe")),
            ("null", None),
            ("ce_id", Some(b"2")),
        ];
        assert_eq!(kept_headers(all), BTreeMap::from([("ce_id".to_owned(), "2".to_owned())]));
    }

    #[test]
    fn a_payload_beyond_the_limit_is_cut_and_says_so() {
        assert_eq!(clip_payload(vec![1; 10]), (vec![1; 10], false));
        let (payload, is_cut) = clip_payload(vec![1; PAYLOAD_BYTES + 1]);
        assert_eq!((payload.len(), is_cut), (PAYLOAD_BYTES, true));
    }
}
