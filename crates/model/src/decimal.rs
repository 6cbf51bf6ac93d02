//! Decimals that fit their Avro type: never rounded, never overflowing silently (domain.md 4.1).

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A decimal of at most `P` digits, `S` of them after the point. Text in JSON, big-endian two's complement at scale `S` in Avro.
///
/// Invariant: `value.scale() <= S` after normalising, and `|value| * 10^S < 10^P`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Dec<const P: u32, const S: u32>(Decimal);

/// Quantities: decimal(28,9).
pub type Qty = Dec<28, 9>;
/// Amounts of money: decimal(28,9).
pub type Money9 = Dec<28, 9>;
/// Weights: decimal(20,6).
pub type Wt = Dec<20, 6>;
/// Percentages as 12.5, not 0.125: decimal(9,6).
pub type Pct = Dec<9, 6>;
/// Geographic degrees: decimal(9,6).
pub type Degrees = Dec<9, 6>;
/// Offset of a unit's scale: decimal(20,9).
pub type Offset9 = Dec<20, 9>;

/// A number that its type cannot hold exactly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    #[error("`{0}` is not a decimal number")]
    Syntax(String),
    #[error("`{value}` has {found} decimals, decimal({precision},{scale}) holds {scale}; it is never rounded")]
    Scale { value: Decimal, found: u32, precision: u32, scale: u32 },
    #[error("`{value}` is too large for decimal({precision},{scale})")]
    Precision { value: Decimal, precision: u32, scale: u32 },
}

impl<const P: u32, const S: u32> Dec<P, S> {
    /// # Errors
    /// When the value has more than `S` decimals or more than `P - S` digits before the point.
    pub fn new(value: Decimal) -> Result<Self, DecimalError> {
        let value = value.normalize();
        if value.scale() > S {
            return Err(DecimalError::Scale { value, found: value.scale(), precision: P, scale: S });
        }
        let limit = 10_i128.pow(P);
        match value.mantissa().checked_mul(10_i128.pow(S - value.scale())) {
            Some(scaled) if scaled.abs() < limit => Ok(Self(value)),
            _ => Err(DecimalError::Precision { value, precision: P, scale: S }),
        }
    }

    #[must_use]
    pub fn get(self) -> Decimal {
        self.0
    }

    /// The unscaled integer at scale `S`.
    #[must_use]
    pub fn unscaled(self) -> i128 {
        self.0.mantissa() * 10_i128.pow(S - self.0.scale())
    }

    fn from_unscaled(unscaled: i128) -> Option<Self> {
        Decimal::try_from_i128_with_scale(unscaled, S).ok().and_then(|value| Self::new(value).ok())
    }
}

impl<const P: u32, const S: u32> FromStr for Dec<P, S> {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = Decimal::from_str_exact(text.trim()).map_err(|_| DecimalError::Syntax(text.to_owned()))?;
        Self::new(value)
    }
}

impl<const P: u32, const S: u32> fmt::Display for Dec<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const P: u32, const S: u32> fmt::Debug for Dec<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const P: u32, const S: u32> Serialize for Dec<P, S> {
    fn serialize<Ser: Serializer>(&self, serializer: Ser) -> Result<Ser::Ok, Ser::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(&self.0);
        }
        let bytes = self.unscaled().to_be_bytes();
        let sign = if bytes[0] & 0x80 == 0 { 0x00 } else { 0xff };
        let mut start = 0;
        while start < bytes.len() - 1 && bytes[start] == sign && (bytes[start + 1] & 0x80) == (sign & 0x80) {
            start += 1;
        }
        serializer.serialize_bytes(&bytes[start..])
    }
}

impl<'de, const P: u32, const S: u32> Deserialize<'de> for Dec<P, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<const P: u32, const S: u32>;
        impl<const P: u32, const S: u32> de::Visitor<'_> for Visitor<P, S> {
            type Value = Dec<P, S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a decimal({P},{S}) as text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                Dec::new(value.into()).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                Dec::new(value.into()).map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                // A JSON number was already read as a float: exact only as text.
                Err(E::custom(format_args!("`{value}` is a floating-point number; write decimals as text, as in \"{value}\"")))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                if bytes.len() > 16 {
                    return Err(E::custom("decimal wider than 16 bytes"));
                }
                let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0x00 };
                let mut wide = [fill; 16];
                wide[16 - bytes.len()..].copy_from_slice(bytes);
                Dec::from_unscaled(i128::from_be_bytes(wide))
                    .ok_or_else(|| E::custom(format_args!("decimal does not fit decimal({P},{S})")))
            }
        }
        deserializer.deserialize_any(Visitor::<P, S>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_decimals_than_the_type_holds_are_refused_not_rounded() {
        assert_eq!("1.234567".parse::<Wt>().unwrap().to_string(), "1.234567");
        assert!(matches!("1.2345678".parse::<Wt>(), Err(DecimalError::Scale { found: 7, .. })));
        assert_eq!("1.2300000000000".parse::<Wt>().unwrap().to_string(), "1.23");
    }

    #[test]
    fn more_digits_than_the_type_holds_are_refused() {
        assert!("999.999999".parse::<Pct>().is_ok());
        assert!(matches!("1000".parse::<Pct>(), Err(DecimalError::Precision { .. })));
    }

    #[test]
    fn words_and_blanks_are_not_numbers() {
        for text in ["", "abc", "1,5", "0x10", "NaN"] {
            assert!(matches!(text.parse::<Qty>(), Err(DecimalError::Syntax(_))), "{text}");
        }
    }
}
