//! All rules over the whole tree.

use std::path::Path;

use super::ledger::{self, Finding};
use super::source::{self, Source};
use super::{circles, imports, language, places, references, routes, shape, width, words};

/// Rewrites the list of exceptions with today's lower numbers: after breaches were mended, files moved, branches
/// merged.
const UPDATE: &str = "WXPAY_TIDY_UPDATE";

/// Breaches of the rules that may have exceptions.
pub fn findings(sources: &[Source]) -> Vec<Finding> {
    let rules = [
        circles::check,
        imports::upward,
        language::check,
        references::of_the_repository,
        shape::lengths,
        width::check,
        words::silent_metrics,
    ];
    rules.iter().flat_map(|rule| rule(sources)).collect()
}

#[test]
fn the_repository_keeps_its_own_rules() {
    let sources = source::repository();
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"), "the walk found nothing");
    let findings = findings(&sources);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tidy/lists/exceptions.txt");
    let mut list = std::fs::read_to_string(&path).unwrap();
    if std::env::var_os(UPDATE).is_some() {
        list = ledger::update(&findings, &list).unwrap_or_else(|e| panic!("{e}"));
        std::fs::write(&path, &list).unwrap();
    }
    let violations = [
        imports::check(&sources),
        imports::forgotten(&sources),
        places::check(&sources),
        places::forgotten(&sources),
        routes::check(&sources),
        shape::check(&sources),
        words::check(&sources),
        ledger::check(&findings, &list),
    ]
    .concat();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// A test elsewhere would never run: Cargo.toml disables tests of the library and the programs, which saves compiling
/// them twice.
#[test]
fn every_test_is_in_the_one_binary() {
    let marks = [["#[", "test]"], ["#[cfg(", "test)]"], ["tokio::", "test"]].map(|mark| mark.concat());
    let sources = source::repository();
    let elsewhere = sources.iter().filter(|s| s.is_rust() && !s.path.starts_with("tests/it/"));
    let found: Vec<&str> = elsewhere
        .filter(|s| marks.iter().any(|mark| s.text.contains(mark.as_str())))
        .map(|s| s.path.as_str())
        .collect();
    assert_eq!(found, [] as [&str; 0]);
}
