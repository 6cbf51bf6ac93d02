//! Exact rationals for unit factors: never a float, never an overflow.

use std::cmp::Ordering;

use num_bigint::BigInt;

/// A positive rational. Not reduced: comparing multiplies crosswise, and the numbers are small.
#[derive(Clone, Debug)]
pub(crate) struct Ratio {
    numerator: BigInt,
    denominator: BigInt,
}

impl Ratio {
    /// None unless both are above zero.
    pub(crate) fn new(numerator: i64, denominator: i64) -> Option<Self> {
        (numerator > 0 && denominator > 0)
            .then(|| Self { numerator: BigInt::from(numerator), denominator: BigInt::from(denominator) })
    }

    /// `self · 10^exponent`.
    pub(crate) fn shifted(self, exponent: i32) -> Self {
        let power = BigInt::from(10).pow(exponent.unsigned_abs());
        if exponent >= 0 {
            Self { numerator: self.numerator * power, denominator: self.denominator }
        } else {
            Self { numerator: self.numerator, denominator: self.denominator * power }
        }
    }

    pub(crate) fn over(&self, other: &Self) -> Self {
        Self { numerator: &self.numerator * &other.denominator, denominator: &self.denominator * &other.numerator }
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            numerator: &self.numerator * &other.denominator + &other.numerator * &self.denominator,
            denominator: &self.denominator * &other.denominator,
        }
    }

    /// Whether |self − other| ≤ tolerance · other.
    pub(crate) fn is_within(&self, tolerance: &Self, other: &Self) -> bool {
        let left = &self.numerator * &other.denominator;
        let right = &other.numerator * &self.denominator;
        let difference = if left > right { left - &right } else { &right - left };
        difference * &tolerance.denominator <= right * &tolerance.numerator
    }

    /// Whether exactly equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (&self.numerator * &other.denominator).cmp(&(&other.numerator * &self.denominator)) == Ordering::Equal
    }

    /// Whether `self · left > right`.
    pub(crate) fn product_is_above(&self, left: i128, right: i128) -> bool {
        BigInt::from(left) * &self.numerator > BigInt::from(right) * &self.denominator
    }

    /// The numerator as the last digits of a rounded factor: half a unit of the last place, relative to the whole.
    pub(crate) fn half_a_digit(digits: i64) -> Option<Self> {
        Self::new(1, digits.checked_mul(2)?)
    }

    /// As people read it: a terminating decimal, else a fraction.
    pub(crate) fn text(&self) -> String {
        let scaled = &self.numerator * BigInt::from(10).pow(15);
        if (&scaled % &self.denominator) != BigInt::from(0) {
            let divisor = gcd(self.numerator.clone(), self.denominator.clone());
            return format!("{}/{}", &self.numerator / &divisor, &self.denominator / &divisor);
        }
        let digits = (scaled / &self.denominator).to_string();
        let digits = format!("{digits:0>16}");
        let (whole, fraction) = digits.split_at(digits.len() - 15);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }
}

fn gcd(mut one: BigInt, mut other: BigInt) -> BigInt {
    while other != BigInt::from(0) {
        let rest = &one % &other;
        one = other;
        other = rest;
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_beyond_64_bits_are_still_exact() {
        let large = Ratio::new(i64::MAX, 1).unwrap().shifted(18);
        let almost = Ratio::new(i64::MAX - 1, 1).unwrap().shifted(18);
        assert!(!large.is(&almost));
        assert!(large.over(&large).is(&Ratio::new(1, 1).unwrap()));
    }

    #[test]
    fn the_tolerance_is_relative_and_inclusive() {
        let tolerance = Ratio::new(1, 1_000_000_000).unwrap();
        let standard = Ratio::new(1000, 1).unwrap();
        assert!(Ratio::new(1_000_000_001_000, 1_000_000_000).unwrap().is_within(&tolerance, &standard));
        assert!(!Ratio::new(1_000_000_001_001, 1_000_000_000).unwrap().is_within(&tolerance, &standard));
    }

    #[test]
    fn text_is_a_decimal_where_one_exists() {
        assert_eq!(Ratio::new(1, 4).unwrap().text(), "0.25");
        assert_eq!(Ratio::new(2000, 2).unwrap().text(), "1000");
        assert_eq!(Ratio::new(2, 6).unwrap().text(), "1/3");
    }
}
