//! Texts for people, cut to what a record, a header or a log line has room for.

/// A text of at most `bytes` bytes, cut between characters; a mark says that something was left out.
#[must_use]
pub fn clip(text: &str, bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    format!("{}{MARK}", &text[..text.floor_char_boundary(bytes.saturating_sub(MARK.len()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(clip("short", 1024), "short");
        for bytes in 4..12 {
            let cut = clip("äöüäöüäöü", bytes);
            assert!(cut.len() <= bytes && cut.ends_with('…'), "{bytes}: {cut}");
        }
    }
}
