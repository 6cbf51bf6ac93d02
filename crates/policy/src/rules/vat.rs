//! VAT numbers of the 27 member states and Northern Ireland: format and, where the state publishes one, check digit.
//!
//! Numbers of natural persons in Bulgaria, Czechia and Latvia, and French keys with letters, are checked by format alone.

use super::digits::{digits, luhn, mod_11_10, mod_97, weighted};

/// Whether a state's VAT numbers look like this. `number` is the part after the prefix.
pub(crate) type Check = fn(&str) -> bool;

/// ISO country code → prefix of its VAT numbers, check.
#[rustfmt::skip]
pub(crate) const STATES: &[(&str, &str, Check)] = &[
    ("AT", "AT", austria), ("BE", "BE", belgium), ("BG", "BG", bulgaria), ("CY", "CY", cyprus), ("CZ", "CZ", czechia),
    ("DE", "DE", germany), ("DK", "DK", denmark), ("EE", "EE", estonia), ("GR", "EL", greece), ("ES", "ES", spain),
    ("FI", "FI", finland), ("FR", "FR", france), ("HR", "HR", croatia), ("HU", "HU", hungary), ("IE", "IE", ireland),
    ("IT", "IT", italy), ("LT", "LT", lithuania), ("LU", "LU", luxembourg), ("LV", "LV", latvia), ("MT", "MT", malta),
    ("NL", "NL", netherlands), ("PL", "PL", poland), ("PT", "PT", portugal), ("RO", "RO", romania), ("SE", "SE", sweden),
    ("SI", "SI", slovenia), ("SK", "SK", slovakia), ("XI", "XI", northern_ireland),
];

/// The digits, if there are exactly `length` of them.
fn exactly(number: &str, length: usize) -> Option<Vec<u32>> {
    digits(number).filter(|digits| digits.len() == length)
}

fn value(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |value, digit| value * 10 + u64::from(*digit))
}

fn austria(number: &str) -> bool {
    let Some(d) = number.strip_prefix('U').and_then(|number| exactly(number, 8)) else { return false };
    let sum: u32 = d[..7].iter().enumerate().map(|(i, digit)| if i % 2 == 0 { *digit } else { digit * 2 % 10 + digit / 5 }).sum();
    (96 - sum) % 10 == d[7]
}

fn belgium(number: &str) -> bool {
    exactly(number, 10).is_some_and(|d| d[0] <= 1 && 97 - value(&d[..8]) % 97 == value(&d[8..]))
}

fn bulgaria(number: &str) -> bool {
    if exactly(number, 10).is_some() {
        return true;
    }
    let Some(d) = exactly(number, 9) else { return false };
    let mut check = weighted(&d[..8], &[1, 2, 3, 4, 5, 6, 7, 8]) % 11;
    if check == 10 {
        check = weighted(&d[..8], &[3, 4, 5, 6, 7, 8, 9, 10]) % 11;
    }
    check % 10 == d[8]
}

fn cyprus(number: &str) -> bool {
    const ODD: [u32; 10] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21];
    let Some((index, letter)) = number.char_indices().next_back() else { return false };
    let Some(d) = exactly(&number[..index], 8) else { return false };
    let sum: u32 = d.iter().enumerate().map(|(i, digit)| if i % 2 == 0 { ODD[*digit as usize] } else { *digit }).sum();
    char::from_u32(u32::from('A') + sum % 26) == Some(letter)
}

fn czechia(number: &str) -> bool {
    if exactly(number, 9).is_some() || exactly(number, 10).is_some() {
        return true;
    }
    exactly(number, 8).is_some_and(|d| {
        let check = (11 - weighted(&d[..7], &[8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
        d[0] != 9 && (if check == 0 { 1 } else { check % 10 }) == d[7]
    })
}

fn germany(number: &str) -> bool {
    exactly(number, 9).is_some_and(|d| d[0] != 0 && mod_11_10(&d))
}

fn denmark(number: &str) -> bool {
    exactly(number, 8).is_some_and(|d| d[0] != 0 && weighted(&d, &[2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
}

fn estonia(number: &str) -> bool {
    exactly(number, 9).is_some_and(|d| weighted(&d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10))
}

fn greece(number: &str) -> bool {
    exactly(number, 9).is_some_and(|d| weighted(&d[..8], &[256, 128, 64, 32, 16, 8, 4, 2]) % 11 % 10 == d[8])
}

fn spain(number: &str) -> bool {
    const PERSON: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    const COMPANY: &[u8; 10] = b"JABCDEFGHI";
    let bytes = number.as_bytes();
    if bytes.len() != 9 || !number.is_ascii() {
        return false;
    }
    let (first, last) = (bytes[0], bytes[8]);
    let person = |leading: &str, rest: &str| {
        digits(&format!("{leading}{rest}")).is_some_and(|d| PERSON[(value(&d) % 23) as usize] == last)
    };
    match first {
        b'0'..=b'9' => person("", &number[..8]),
        b'X' | b'K' | b'L' | b'M' => person("", &number[1..8]),
        b'Y' => person("1", &number[1..8]),
        b'Z' => person("2", &number[1..8]),
        b'A'..=b'H' | b'J' | b'N' | b'P'..=b'S' | b'U'..=b'W' => exactly(&number[1..8], 7).is_some_and(|d| {
            let sum: u32 =
                d.iter().enumerate().map(|(i, digit)| if i % 2 == 0 { digit * 2 % 10 + digit / 5 } else { *digit }).sum();
            let check = (10 - sum % 10) % 10;
            last == b'0' + check as u8 || last == COMPANY[check as usize]
        }),
        _ => false,
    }
}

fn finland(number: &str) -> bool {
    exactly(number, 8).is_some_and(|d| weighted(&d, &[7, 9, 10, 5, 8, 4, 2, 1]).is_multiple_of(11))
}

fn france(number: &str) -> bool {
    if !number.is_ascii() || number.len() != 11 {
        return false;
    }
    let (key, siren) = number.split_at(2);
    let Some(d) = exactly(siren, 9) else { return false };
    // Numbers of Monaco begin with 000 and are no SIREN.
    if !siren.starts_with("000") && !luhn(&d) {
        return false;
    }
    match digits(key) {
        Some(key) => value(&key) == (12 + 3 * (value(&d) % 97)) % 97,
        None => key.bytes().all(|byte| byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'O'))),
    }
}

fn croatia(number: &str) -> bool {
    exactly(number, 11).is_some_and(|d| {
        let check = d[..10].iter().fold(10, |rest, digit| {
            let sum = (rest + digit) % 10;
            (if sum == 0 { 10 } else { sum }) * 2 % 11
        });
        (11 - check) % 10 == d[10]
    })
}

fn hungary(number: &str) -> bool {
    exactly(number, 8).is_some_and(|d| weighted(&d, &[9, 7, 3, 1, 9, 7, 3, 1]).is_multiple_of(10))
}

fn ireland(number: &str) -> bool {
    const LETTERS: &[u8; 23] = b"WABCDEFGHIJKLMNOPQRSTUV";
    if !number.is_ascii() || !matches!(number.len(), 8 | 9) {
        return false;
    }
    let bytes = number.as_bytes();
    let (body, extra) = match digits(&number[..7]) {
        Some(d) => {
            let extra = match bytes.get(8) {
                None => 0,
                Some(letter @ b'A'..=b'I') => u32::from(letter - b'A' + 1),
                Some(b'W') => 0,
                Some(_) => return false,
            };
            (d, extra)
        }
        // The older form: a digit, a letter or sign, five digits, the check letter.
        None if number.len() == 8 && matches!(bytes[1], b'A'..=b'Z' | b'+' | b'*') => {
            match digits(&format!("0{}{}", &number[2..7], &number[..1])) {
                Some(d) => (d, 0),
                None => return false,
            }
        }
        None => return false,
    };
    let sum = weighted(&body, &[8, 7, 6, 5, 4, 3, 2]) + 9 * extra;
    LETTERS[(sum % 23) as usize] == bytes[7]
}

fn italy(number: &str) -> bool {
    exactly(number, 11).is_some_and(|d| value(&d[..7]) != 0 && luhn(&d))
}

fn lithuania(number: &str) -> bool {
    let Some(d) = digits(number).filter(|d| matches!(d.len(), 9 | 12)) else { return false };
    let (body, check) = (&d[..d.len() - 1], d[d.len() - 1]);
    if body[body.len() - 1] != 1 {
        return false;
    }
    let sum = |shift: u32| -> u32 { (0..).zip(body).map(|(i, digit)| (1 + (i + shift) % 9) * digit).sum() };
    let first = sum(0) % 11;
    check == if first == 10 { sum(2) % 11 % 10 } else { first }
}

fn luxembourg(number: &str) -> bool {
    exactly(number, 8).is_some_and(|d| value(&d[..6]) % 89 == value(&d[6..]))
}

fn latvia(number: &str) -> bool {
    exactly(number, 11).is_some_and(|d| d[0] <= 3 || weighted(&d, &[9, 1, 4, 8, 3, 10, 2, 5, 7, 6, 1]) % 11 == 3)
}

fn malta(number: &str) -> bool {
    exactly(number, 8).is_some_and(|d| d[0] != 0 && weighted(&d, &[3, 4, 6, 7, 8, 9, 10, 1]).is_multiple_of(37))
}

fn netherlands(number: &str) -> bool {
    let Some((first, last)) = number.split_once('B') else { return false };
    let (Some(d), Some(_)) = (exactly(first, 9), exactly(last, 2)) else { return false };
    let sum = weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    // Sole traders have numbers since 2020 that only pass the second check.
    (value(&d) != 0 && sum % 11 == d[8]) || mod_97(&format!("NL{number}")) == Some(1)
}

fn poland(number: &str) -> bool {
    exactly(number, 10).is_some_and(|d| weighted(&d[..9], &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == d[9])
}

fn portugal(number: &str) -> bool {
    exactly(number, 9).is_some_and(|d| d[0] != 0 && (11 - weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11 % 10 == d[8])
}

fn romania(number: &str) -> bool {
    digits(number).filter(|d| (2..=10).contains(&d.len()) && d[0] != 0).is_some_and(|d| {
        let body = &d[..d.len() - 1];
        let weights = &[7, 5, 3, 2, 1, 7, 5, 3, 2][9 - body.len()..];
        weighted(body, weights) * 10 % 11 % 10 == d[d.len() - 1]
    })
}

fn sweden(number: &str) -> bool {
    exactly(number, 12).is_some_and(|d| luhn(&d[..10]) && (1..=94).contains(&value(&d[10..])))
}

fn slovenia(number: &str) -> bool {
    exactly(number, 8).is_some_and(|d| {
        let check = 11 - weighted(&d[..7], &[8, 7, 6, 5, 4, 3, 2]) % 11;
        d[0] != 0 && check != 11 && check % 10 == d[7]
    })
}

fn slovakia(number: &str) -> bool {
    exactly(number, 10).is_some_and(|d| d[0] != 0 && matches!(d[2], 2 | 3 | 4 | 7 | 8 | 9) && value(&d).is_multiple_of(11))
}

fn northern_ireland(number: &str) -> bool {
    if let Some(rest) = number.strip_prefix("GD").and_then(|rest| exactly(rest, 3)) {
        return value(&rest) < 500;
    }
    if let Some(rest) = number.strip_prefix("HA").and_then(|rest| exactly(rest, 3)) {
        return value(&rest) >= 500;
    }
    let Some(d) = digits(number).filter(|d| matches!(d.len(), 9 | 12)) else { return false };
    matches!(weighted(&d[..9], &[8, 7, 6, 5, 4, 3, 2, 10, 1]) % 97, 0 | 42)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One published number a state.
    const VALID: &[&str] = &[
        "ATU13585627",
        "BE0428759497",
        "BG175074752",
        "CY10259033P",
        "CZ25123891",
        "DE136695976",
        "DK13585628",
        "EE100931558",
        "EL094259216",
        "ESA13585625",
        "ES54362315K",
        "ESX2482300W",
        "FI20774740",
        "FR40303265045",
        "HR33392005961",
        "HU12892312",
        "IE6433435F",
        "IE6433435OA",
        "IE8D79739I",
        "IT00743110157",
        "LT119511515",
        "LT100001919017",
        "LU15027442",
        "LV40003521600",
        "MT11679112",
        "NL004495445B01",
        "NL123456789B13",
        "PL8567346215",
        "PT501964843",
        "RO18547290",
        "SE556188840401",
        "SI50223054",
        "SK2022749619",
        "XI980780684",
        "XIGD001",
    ];

    fn check(number: &str) -> bool {
        let (prefix, rest) = number.split_at(2);
        STATES.iter().find(|(_, state, _)| *state == prefix).is_some_and(|(_, _, check)| check(rest))
    }

    #[test]
    fn a_published_number_of_each_state_passes() {
        for number in VALID {
            assert!(check(number), "{number}");
        }
        for (_, prefix, _) in STATES {
            assert!(VALID.iter().any(|number| number.starts_with(prefix)), "no vector for {prefix}");
        }
    }

    #[test]
    fn one_changed_digit_is_found() {
        for number in VALID.iter().filter(|number| !number.starts_with("XIGD")) {
            // The last digit takes part in every check; letters after it stay.
            let index = number.rfind(|character: char| character.is_ascii_digit()).unwrap();
            // Branch numbers after the check: the digit before them.
            let index = if number.starts_with("SE") || number.starts_with("NL") { 5 } else { index };
            let digit = number.as_bytes()[index] - b'0';
            let changed = format!("{}{}{}", &number[..index], (digit + 1) % 10, &number[index + 1..]);
            assert!(!check(&changed), "{number} → {changed}");
        }
    }

    #[test]
    fn wrong_length_and_letters_are_found() {
        for number in [
            "DE13669597",
            "DE1366959766",
            "DE13669597X",
            "ATU1358562",
            "AT13585627",
            "NL004495445",
            "FR4030326504",
            "ES",
            "IE",
            "CY",
            "ROé",
            "ESÄ1234567",
            "IEÄ433435F",
            "FRÄ0303265045",
        ] {
            assert!(!check(number), "{number}");
        }
    }
}
