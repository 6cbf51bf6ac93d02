//! Exact factors out of text: plain decimals and fractions, and the conversion column of UN/ECE Rec 20.
//!
//! Rec 20 writes `25,4 x 10⁻³ m`: decimal comma, blanks as thousands separators, `x` or `×`, powers as superscripts, a bare unit
//! for one. A text whose reading would be a guess (`103 pascal` for 10³, prose, logarithms) is refused, never read as something else.

/// `num / den · 10^exp unit`. Digits stand as in the text, so that half a unit of the last one is the table's own rounding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    pub num: i64,
    pub den: i64,
    pub exp: i32,
    /// False for seven digits and more: the table rounds there (an ounce is not 2.834952e-2 kg), and half a unit of the last digit
    /// costs nothing where it does not.
    pub exact: bool,
    /// As written, blanks and signs made uniform: `m³/s`, `kg·m`; empty for a pure number.
    pub unit: String,
}

/// A text that is no factor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactorError {
    #[error("`{0}` is not a number or fraction such as 12.5 or 5/9")]
    Rational(String),
    #[error("`{0}` is not a factor such as `25,4 x 10⁻³ m`")]
    Syntax(String),
    #[error("`{0}` may have lost a superscript (10³ or 103?)")]
    Ambiguous(String),
    #[error("`{0}` does not fit 64 bits")]
    Overflow(String),
}

/// Digits from which on Rec 20 rounds.
const ROUNDED_FROM: usize = 7;

impl Factor {
    /// `12.5` is 25/2, `5/9` is 5/9, in lowest terms.
    ///
    /// # Errors
    /// When the text is neither, or does not fit.
    pub fn rational(text: &str) -> Result<(i64, i64), FactorError> {
        let refused = || FactorError::Rational(text.to_owned());
        let overflow = || FactorError::Overflow(text.to_owned());
        let (numerator, denominator) = match text.trim().split_once('/') {
            Some((left, right)) => (decimal(left.trim()).ok_or_else(refused)??, decimal(right.trim()).ok_or_else(refused)??),
            None => (decimal(text.trim()).ok_or_else(refused)??, (1, 0)),
        };
        // num / 10^a over den / 10^b.
        let scale = |value: i128, places: u32| 10_i128.checked_pow(places).and_then(|power| value.checked_mul(power));
        let num = scale(numerator.0, denominator.1).ok_or_else(overflow)?;
        let den = scale(denominator.0, numerator.1).ok_or_else(overflow)?;
        if den == 0 {
            return Err(refused());
        }
        let divisor = gcd(num.unsigned_abs(), den.unsigned_abs());
        let divisor = i128::try_from(divisor.max(1)).map_err(|_| overflow())? * den.signum();
        let fit = |value: i128| i64::try_from(value / divisor).map_err(|_| overflow());
        Ok((fit(num)?, fit(den)?))
    }

    /// The conversion column of Rec 20.
    ///
    /// # Errors
    /// When the text is prose, a logarithm, or could be read in two ways.
    pub fn rec20(text: &str) -> Result<Self, FactorError> {
        let uniform = uniform(text);
        let mut scan = Scan { text: &uniform, original: text };
        let mut factor = Self { num: 1, den: 1, exp: 0, exact: true, unit: String::new() };
        let mut seen = false;
        loop {
            if let Some(exp) = scan.power()? {
                factor.exp += exp;
                seen = true;
            } else if scan.starts_with_number() {
                if seen && factor.num != 1 {
                    // `1,667 x 104 W/s`: a second number after the first can only be a power that lost its superscript.
                    return Err(FactorError::Ambiguous(text.to_owned()));
                }
                scan.number(&mut factor)?;
                seen = true;
            } else {
                break;
            }
            scan.times();
        }
        factor.unit = scan.unit(seen, &mut factor.exp)?;
        if !seen && factor.unit.is_empty() {
            return Err(FactorError::Syntax(text.to_owned()));
        }
        Ok(factor)
    }
}

/// Unscaled value and decimal places; None when it is no decimal.
fn decimal(text: &str) -> Option<Result<(i128, u32), FactorError>> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || (digits.contains('.') && fraction.is_empty()) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let overflow = || FactorError::Overflow(text.to_owned());
    let value = format!("{whole}{fraction}").parse::<i128>().map_err(|_| overflow());
    let places = u32::try_from(fraction.len()).map_err(|_| overflow());
    Some(value.and_then(|value| places.map(|places| (sign * value, places))))
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One blank for any white space, `x` for any multiplication sign, superscripts as `^-3`.
fn uniform(text: &str) -> String {
    const SUPERSCRIPTS: &str = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    let mut out = String::with_capacity(text.len());
    let mut raised = false;
    for letter in text.trim().chars() {
        let digit = SUPERSCRIPTS.chars().position(|candidate| candidate == letter);
        if letter == '⁻' || digit.is_some() {
            if !raised {
                out.push('^');
            }
            raised = true;
            match digit.and_then(|digit| char::from_digit(u32::try_from(digit).unwrap_or(0), 10)) {
                Some(digit) => out.push(digit),
                None => out.push('-'),
            }
            continue;
        }
        // `10⁻8`: a digit straight after a superscript minus belongs to it.
        raised = raised && letter.is_ascii_digit() && out.ends_with('-');
        match letter {
            '×' | '·' | '‧' => out.push('x'),
            letter if letter.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            letter => out.push(letter),
        }
    }
    out
}

/// What is left to read.
struct Scan<'a> {
    text: &'a str,
    original: &'a str,
}

impl Scan<'_> {
    fn syntax(&self) -> FactorError {
        FactorError::Syntax(self.original.to_owned())
    }

    fn starts_with_number(&self) -> bool {
        // `1/J` is a unit, `5/9` and `1,8` are numbers.
        let rest = self.text.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let reciprocal = rest.starts_with('/') && !rest[1..].starts_with(|letter: char| letter.is_ascii_digit());
        rest.len() < self.text.len() && !reciprocal
    }

    /// `10⁻³`, `10-3`, and a lone `10` before a unit (the list's own way of writing 10¹ after an `x`).
    fn power(&mut self) -> Result<Option<i32>, FactorError> {
        let Some(rest) = self.text.strip_prefix("10") else { return Ok(None) };
        if let Some(raised) = rest.strip_prefix('^').or_else(|| rest.starts_with('-').then_some(rest)) {
            let length =
                raised.len() - raised.strip_prefix('-').unwrap_or(raised).trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let exponent = raised[..length].parse().map_err(|_| self.syntax())?;
            self.text = &raised[length..];
            return Ok(Some(exponent));
        }
        let ends = rest.is_empty() || (rest.starts_with(' ') && !rest[1..].starts_with(|letter: char| letter.is_ascii_digit()));
        if ends {
            self.text = rest;
            return Ok(Some(1));
        }
        Ok(None)
    }

    /// Digits in groups, a decimal comma or point, or a fraction `5/9`.
    fn number(&mut self, factor: &mut Factor) -> Result<(), FactorError> {
        let mut digits = String::new();
        let mut decimals: Option<i32> = None;
        let letters: Vec<char> = self.text.chars().collect();
        let mut at = 0;
        while at < letters.len() {
            let next_is_digit = letters.get(at + 1).is_some_and(char::is_ascii_digit);
            match letters[at] {
                digit if digit.is_ascii_digit() => {
                    digits.push(digit);
                    decimals = decimals.map(|places| places + 1);
                }
                ',' | '.' if decimals.is_none() && next_is_digit => decimals = Some(0),
                // `4, 731 765 x 10⁻⁴ m³`: a slip of the list that leaves no doubt.
                ',' if decimals.is_none()
                    && letters.get(at + 1) == Some(&' ')
                    && letters.get(at + 2).is_some_and(char::is_ascii_digit) =>
                {
                    decimals = Some(0);
                }
                // `3,511 677 10⁻³`: the group that begins a power is not part of the number.
                ' ' if next_is_digit && !starts_power(&letters[at + 1..]) && !starts_reciprocal(&letters[at + 1..]) => {}
                _ => break,
            }
            at += 1;
        }
        let consumed: usize = letters[..at].iter().map(|letter| letter.len_utf8()).sum();
        self.text = &self.text[consumed..];
        if let Some(rest) = self.text.strip_prefix('/') {
            let length = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
            factor.den = rest[..length].parse().map_err(|_| self.syntax())?;
            self.text = &rest[length..];
            if factor.den == 0 {
                return Err(self.syntax());
            }
        } else if self.text.starts_with(char::is_alphabetic) && digits.starts_with("10") && !self.text.starts_with('x') {
            // `103pascal`
            return Err(FactorError::Ambiguous(self.original.to_owned()));
        }
        let significant = digits.trim_start_matches('0');
        factor.exact = significant.len() < ROUNDED_FROM;
        factor.num = digits.parse().map_err(|_| FactorError::Overflow(self.original.to_owned()))?;
        factor.exp -= decimals.unwrap_or(0);
        Ok(())
    }

    fn times(&mut self) {
        self.text = self.text.trim_start();
        // `4,184 x10⁴` leaves the blank out.
        let rest = self.text.strip_prefix('x').filter(|rest| rest.starts_with(' ') || rest.starts_with("10^"));
        if let Some(rest) = rest {
            self.text = rest.trim_start();
        }
    }

    /// What remains is the unit. Without a number before it, it must look like one; it may end in a power of ten (`V/m x 10²`).
    fn unit(&self, has_number: bool, exp: &mut i32) -> Result<String, FactorError> {
        let mut text = self.text.trim();
        let begins_wrong = text.starts_with(|letter: char| letter.is_ascii_digit()) && !text.starts_with("1/");
        if begins_wrong || text.starts_with(['^', '-', '=', ',', '.', ';']) || text.contains("10^") && !text.contains(" x 10^") {
            return Err(self.syntax());
        }
        if let Some((unit, power)) = text.rsplit_once(" x 10^") {
            *exp += power.parse::<i32>().map_err(|_| self.syntax())?;
            text = unit;
        }
        let joined = text.replace(" x ", "·").replace(" / ", "/").replace("/ ", "/").replace(" /", "/");
        // `W m⁻¹` is a product; `use pair` and `mg KOH/g` are words.
        if !has_number && joined.contains(' ') && !joined.contains('^') {
            return Err(self.syntax());
        }
        let joined = joined.replace(' ', "·");
        Ok(joined.replace('^', ""))
    }
}

fn starts_power(letters: &[char]) -> bool {
    letters.starts_with(&['1', '0', '^'])
}

/// `1,8 1/K`: the second 1 belongs to the unit.
fn starts_reciprocal(letters: &[char]) -> bool {
    letters.iter().find(|letter| !letter.is_ascii_digit()) == Some(&'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (i64, i64, i32, bool, String) {
        let factor = Factor::rec20(text).unwrap_or_else(|error| panic!("{error}"));
        (factor.num, factor.den, factor.exp, factor.exact, factor.unit)
    }

    #[test]
    fn the_traps_of_the_conversion_column_are_read_exactly() {
        for (text, num, den, exp, exact, unit) in [
            ("25,4 x 10⁻³ m", 254, 1, -4, true, "m"),
            ("3 600 s", 3600, 1, 0, true, "s"),
            ("86\u{a0}400 s", 86_400, 1, 0, true, "s"),
            ("10⁻³ kg", 1, 1, -3, true, "kg"),
            ("kg", 1, 1, 0, true, "kg"),
            ("m³/s", 1, 1, 0, true, "m3/s"),
            ("(kg x m)/s²", 1, 1, 0, true, "(kg·m)/s2"),
            ("1", 1, 1, 0, true, ""),
            ("1.0", 10, 1, -1, true, ""),
            ("12", 12, 1, 0, true, ""),
            ("1 x 10⁻²", 1, 1, -2, true, ""),
            ("5/9\u{a0}x K", 5, 9, 0, true, "K"),
            ("1 x K", 1, 1, 0, true, "K"),
            ("7,957 747 x 10 A/m", 7_957_747, 1, -5, false, "A/m"),
            ("2,011684 x 10 m", 2_011_684, 1, -5, false, "m"),
            ("10⁵ x  1 055,056 J", 1_055_056, 1, 2, false, "J"),
            ("1,602 176 487 x 10⁻¹⁹ J", 1_602_176_487, 1, -28, false, "J"),
            ("2,834 952 x 10⁻² kg", 2_834_952, 1, -8, false, "kg"),
            ("0,453 592 37 kg", 45_359_237, 1, -8, false, "kg"),
            ("3,511 677 10⁻³ N x m", 3_511_677, 1, -9, false, "N·m"),
            ("1.667 x 10-2 /s", 1667, 1, -5, true, "/s"),
            ("V/m x 10²", 1, 1, 2, true, "V/m"),
            ("10⁻8", 1, 1, -8, true, ""),
            ("4,184 x10⁴ W/(m² x K)", 4184, 1, 1, true, "W/(m2·K)"),
            ("W m⁻¹", 1, 1, 0, true, "W·m-1"),
            ("1/J", 1, 1, 0, true, "1/J"),
            ("1,8 1/K", 18, 1, -1, true, "1/K"),
            ("m3", 1, 1, 0, true, "m3"),
            ("100", 100, 1, 0, true, ""),
            ("4, 731 765 x 10⁻⁴ m³", 4_731_765, 1, -10, false, "m3"),
        ] {
            assert_eq!(read(text), (num, den, exp, exact, unit.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "103pascal",
            "1.667 × 104 W/s",
            "use pair",
            "mg KOH/g",
            "-log10(mol/l)",
            "10^[Power in dBW/10] W",
            "J/(10⁻³ x kg)",
            "",
            "  ",
        ] {
            assert!(Factor::rec20(text).is_err(), "{text}: {:?}", Factor::rec20(text));
        }
    }

    #[test]
    fn plain_numbers_and_fractions_become_lowest_terms() {
        for (text, num, den) in [
            ("12.5", 25, 2),
            ("1", 1, 1),
            ("0.001", 1, 1000),
            ("5/9", 5, 9),
            ("6/4", 3, 2),
            ("0", 0, 1),
            ("-2.50", -5, 2),
            ("0.5/0.25", 2, 1),
        ] {
            assert_eq!(Factor::rational(text).unwrap(), (num, den), "{text}");
        }
        for text in ["", "1,5", "1.", ".5", "1/0", "a", "1e3", "99999999999999999999"] {
            assert!(Factor::rational(text).is_err(), "{text}");
        }
    }
}
