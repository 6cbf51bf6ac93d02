//! Check digits: one small function a scheme, on plain text.

/// The digits of `text`; none when it holds anything else.
pub(crate) fn digits(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|character| character.to_digit(10).filter(|_| character.is_ascii_digit())).collect()
}

/// Σ digit · weight, over the shorter of both.
pub(crate) fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// Luhn over all digits, the last being the check digit.
pub(crate) fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match index % 2 {
            0 => *digit,
            _ => (digit * 2) % 10 + digit / 5,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// GS1 mod 10 (GTIN, GLN): weights 3 and 1 from the right, the last being the check digit.
pub(crate) fn gs1(text: &str, lengths: &[usize]) -> bool {
    let Some(digits) = digits(text).filter(|digits| lengths.contains(&digits.len())) else { return false };
    let sum: u32 = digits.iter().rev().enumerate().map(|(index, digit)| digit * if index % 2 == 0 { 1 } else { 3 }).sum();
    sum.is_multiple_of(10)
}

/// ISO 7064 mod 11,10: the check of German VAT numbers.
pub(crate) fn mod_11_10(digits: &[u32]) -> bool {
    let mut check = 5;
    for digit in digits {
        check = ((if check == 0 { 10 } else { check }) * 2) % 11;
        check = (check + digit) % 10;
    }
    check == 1
}

/// ISO 7064 mod 97 of letters and digits, a letter counting 10 to 35; none when there is anything else.
pub(crate) fn mod_97(text: &str) -> Option<u32> {
    text.chars().try_fold(0, |rest, character| {
        let value = character.to_digit(36).filter(|_| character.is_ascii_digit() || character.is_ascii_uppercase())?;
        Some((rest * if value > 9 { 100 } else { 10 } + value) % 97)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_numbers_pass_and_a_changed_digit_does_not() {
        assert!(gs1("4006381333931", &[13]) && !gs1("4006381333932", &[13]) && !gs1("400638133393", &[13]));
        assert!(gs1("73513537", &[8]) && gs1("036000291452", &[12]) && gs1("10614141000415", &[14]));
        assert!(luhn(&digits("4111111111111111").unwrap()) && !luhn(&digits("4111111111111112").unwrap()));
        assert!(mod_11_10(&digits("136695976").unwrap()) && !mod_11_10(&digits("136695978").unwrap()));
        assert_eq!(mod_97("3214282912345698765432161182"), Some(1));
        assert_eq!(mod_97("12-3"), None);
        assert_eq!(digits("12a"), None);
    }
}
