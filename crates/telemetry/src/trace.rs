//! W3C trace context as it travels in Kafka headers and to destinations, and the names of spans and of their attributes.
//!
//! The names follow OpenTelemetry's semantic conventions for messaging and HTTP, which are still "Development": this is the one
//! place that changes with them. What is our own starts with `millrace.`.
//!
//! Invariant: a header that cannot be read is no context; it never stops a record.

/// Header of a record and of a call to a destination.
pub const TRACEPARENT: &str = "traceparent";

/// First word of a span's name; the topic follows.
pub const SEND: &str = "send";
pub const PROCESS: &str = "process";

/// Names of attributes.
pub mod attribute {
    pub const MESSAGING_SYSTEM: &str = "messaging.system";
    pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
    pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
    pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
    pub const MESSAGING_PARTITION: &str = "messaging.destination.partition.id";
    pub const MESSAGING_GROUP: &str = "messaging.consumer.group.name";
    pub const MESSAGING_OFFSET: &str = "messaging.kafka.offset";
    /// Only with `--trace-keys`: a key can be personal data.
    pub const MESSAGING_KEY: &str = "messaging.kafka.message.key";
    pub const HTTP_METHOD: &str = "http.request.method";
    pub const HTTP_STATUS: &str = "http.response.status_code";
    pub const SERVER_ADDRESS: &str = "server.address";
    pub const SERVER_PORT: &str = "server.port";
    /// Instead of `url.full`, which would hold the key.
    pub const URL_TEMPLATE: &str = "url.template";
    pub const ERROR_TYPE: &str = "error.type";
    pub const DOMAIN: &str = "millrace.domain";
    pub const SOURCE: &str = "millrace.source";
    pub const DESTINATION: &str = "millrace.destination";
    pub const REVISION: &str = "millrace.revision";
    pub const OUTCOME: &str = "millrace.outcome";
    pub const ATTEMPT: &str = "millrace.attempt";
    pub const PLAN: &str = "millrace.plan";
    pub const LETTER_CODE: &str = "millrace.letter.code";
}

/// One point of one trace: where a record came into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    pub trace: u128,
    pub span: u64,
    /// Whoever began the trace decided whether it is recorded; everybody behind obeys.
    pub is_sampled: bool,
}

/// `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

impl TraceContext {
    /// Reads a header; None where it is none, or one of nobody (all zeros).
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let version = hex(header.get(..2)?)?;
        // A later version may append fields; 00 may not, and ff is none.
        let has_length = header.len() == LENGTH || version > 0 && header.get(LENGTH) == Some(&b'-');
        let has_dashes = header.get(2) == Some(&b'-') && header.get(35) == Some(&b'-') && header.get(52) == Some(&b'-');
        if version == 0xff || !has_length || !has_dashes {
            return None;
        }
        let trace = hex(&header[3..35])?;
        let span = u64::try_from(hex(&header[36..52])?).ok()?;
        let flags = hex(&header[53..55])?;
        (trace != 0 && span != 0).then_some(Self { trace, span, is_sampled: flags & 1 == 1 })
    }

    /// The header's text.
    #[must_use]
    pub fn header(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(LENGTH);
        let mut digits = |lead: &str, value: u128, count: u32| {
            text.push_str(lead);
            for place in (0..count).rev() {
                text.push(char::from(DIGITS[(value >> (place * 4) & 0xf) as usize]));
            }
        };
        digits("00-", self.trace, 32);
        digits("-", u128::from(self.span), 16);
        text.push_str(if self.is_sampled { "-01" } else { "-00" });
        text
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn with_span(self, span: u64) -> Self {
        Self { span, ..self }
    }
}

/// Lower case only, as the recommendation says.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_its_header() {
        for is_sampled in [true, false] {
            let context =
                TraceContext { trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span: 0x00f0_67aa_0ba9_02b7, is_sampled };
            let header = context.header();
            assert_eq!(header, format!("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-0{}", u8::from(is_sampled)));
            assert_eq!(TraceContext::parse(header.as_bytes()), Some(context));
        }
    }

    #[test]
    fn what_is_no_header_is_no_context() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        for broken in [
            "",
            "00",
            "rubbish",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00_0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "01-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01x",
            "00-0af7651916cd43dd8448eb211c8031äc-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(broken.as_bytes()), None, "{broken}");
        }
        let later = format!("01{}-more", &good[2..]);
        assert_eq!(TraceContext::parse(later.as_bytes()), TraceContext::parse(good.as_bytes()));
    }
}
