//! Every code of an unreadable record has its page.

#[test]
fn every_code_of_a_record_that_cannot_be_read_has_a_page() {
    use avro::code;
    for code in [code::FRAMING, code::UNREADABLE, code::SCHEMA, code::SCHEMA_UNKNOWN] {
        let page = contract::avro_folder().join(format!("../docs/errors/{code}.md"));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for part in ["## Meaning", "## Cause", "## What to do"] {
            assert!(text.contains(part), "{code} lacks `{part}`");
        }
    }
}
