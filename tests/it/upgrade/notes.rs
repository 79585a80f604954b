//! What stands in the upgrade notes.

/// Every step is named once, and nothing else is.
#[test]
fn every_step_of_the_schema_has_its_line() {
    let notes = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/upgrades.md")).unwrap();
    let named: Vec<String> = notes
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .filter(|name| name.starts_with('m'))
        .collect();
    assert_eq!(named, migrations::names(), "docs/upgrades.md: a line for each step, in their order");
}
