//! How wide the tree is: the length of lines, comments included, and the number of files in a folder.

use std::collections::BTreeMap;

use super::ledger::Finding;
use super::source::Source;

const COLUMNS: usize = 120;
const FILES: usize = 15;

const CODE: &[&str] = &["src", "bin", "migrations", "tests"];

/// One file per table of the database, and one per published vector: their number is not ours to choose.
const WIDE: &[&str] = &["src/store/entity", "tests/it/vectors"];

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() || s.path.ends_with(".md")) {
        for (i, line) in source.text.lines().enumerate() {
            let table = !source.is_rust() && line.trim_start().starts_with('|');
            let columns = without_urls(line);
            if columns > COLUMNS && !table {
                findings.push(Finding::new("line", source, i + 1, format!("{columns} columns: {COLUMNS} at most")));
            }
        }
    }
    for (folder, files) in folders(sources) {
        if files > FILES && !WIDE.contains(&folder) {
            findings.push(Finding {
                rule: "folder",
                path: folder.to_owned(),
                line: 1,
                weight: files - FILES,
                text: format!("{files} files: a folder has {FILES} at most"),
            });
        }
    }
    findings
}

/// The files directly in each folder of code.
pub fn folders(sources: &[Source]) -> BTreeMap<&str, usize> {
    let mut folders = BTreeMap::new();
    for source in sources.iter().filter(|s| CODE.iter().any(|place| s.is_in(place))) {
        if let Some((folder, _)) = source.path.rsplit_once('/') {
            *folders.entry(folder).or_insert(0) += 1;
        }
    }
    folders
}

/// The characters of a line; an address cannot be broken, so it does not count.
fn without_urls(line: &str) -> usize {
    let urls: usize = line
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | '(' | ')' | '<' | '>' | '`'))
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(|url| url.chars().count())
        .sum();
    line.chars().count() - urls
}

#[test]
fn a_line_is_measured_with_its_comment_and_without_its_addresses() {
    let found = |path: &str, line: &str| check(&[Source::new(path, &format!("\n{line}\n"))]).len();
    let wide = "x".repeat(100);
    assert_eq!(found("src/a.rs", &format!("// {wide} {}", "付".repeat(16))), 0);
    assert_eq!(found("src/a.rs", &format!("// {wide} {}", "付".repeat(17))), 1);
    assert_eq!(found("src/a.rs", &format!("// {wide} https://example.com/a/long/page")), 0);
    assert_eq!(found("src/a.rs", &format!("| {wide} | {wide} |")), 1);
    assert_eq!(found("docs/a.md", &format!("| {wide} | {wide} |")), 0);
    assert_eq!(found("docs/a.md", &format!("{wide} {wide}")), 1);
    assert_eq!(found("docs/events/a.json", &format!("{wide} {wide}")), 0);
}

#[test]
fn a_wide_folder_is_found() {
    let folder = |path: &str, files: usize| {
        let sources: Vec<Source> = (0..files).map(|i| Source::new(&format!("{path}/f{i}.rs"), "")).collect();
        check(&sources).iter().map(|f| (f.path.clone(), f.weight)).collect::<Vec<_>>()
    };
    assert_eq!(folder("src/a", 15), []);
    assert_eq!(folder("src/a", 17), [("src/a".to_owned(), 2)]);
    assert_eq!(folder("src/store/entity", 17), []);
    assert_eq!(folder("docs", 17), []);
}
