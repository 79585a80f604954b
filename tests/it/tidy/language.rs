//! The field's words: what the text of the tree must not say, wherever it says it (`lists/language.txt`).

use std::collections::BTreeSet;

use super::ledger::Finding;
use super::source::Source;

const LIST: &str = include_str!("lists/language.txt");

/// Names that persist: columns and indices of the database stay as they are.
const PERSISTED: &str = include_str!("lists/persisted.txt");

/// How many words further on a word may excuse one of the list: "turns a body into a fact".
const CLOSE: usize = 3;

struct Entry {
    /// Spellings; one of several words is a sequence.
    forms: Vec<Vec<&'static str>>,
    unless: Vec<&'static str>,
    instead: &'static str,
}

pub fn check(sources: &[Source]) -> Vec<Finding> {
    let entries = entries();
    let first: BTreeSet<&str> = entries.iter().flat_map(|e| &e.forms).map(|form| form[0]).collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| is_read(s)) {
        let words = words(&source.text);
        for at in (0..words.len()).filter(|at| first.contains(words[*at].1.as_str())) {
            for entry in &entries {
                if let Some(form) = entry.matches(&words[at..]) {
                    let text = format!("\"{form}\" is not the field's word: {}", entry.instead);
                    findings.push(Finding::new("words", source, words[at].0, text));
                }
            }
        }
    }
    findings
}

fn is_read(source: &Source) -> bool {
    // Quotes the program, which is read itself.
    if source.path == "tests/seeded_faults.toml" {
        return false;
    }
    let code = ["src", "bin", "migrations", "tests"].iter().any(|place| source.is_in(place));
    let named = |ends: &[&str]| ends.iter().any(|end| source.path.ends_with(end));
    code && named(&[".rs", ".toml", ".sh"]) || source.path == "README.md" || source.is_in("docs") && named(&[".md"])
}

fn entries() -> Vec<Entry> {
    LIST.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (words, instead) = line.split_once(" = ").unwrap_or((line, ""));
            let (forms, unless) = words.split_once(", unless ").unwrap_or((words, ""));
            let forms = match forms {
                phrase if phrase.ends_with(" again") => vec![phrase.split(' ').collect()],
                _ => forms.split(' ').map(|form| vec![form]).collect(),
            };
            Entry { forms, unless: unless.split_whitespace().collect(), instead }
        })
        .collect()
}

impl Entry {
    fn matches(&self, words: &[(usize, String)]) -> Option<String> {
        let begins = |form: &&Vec<&str>| {
            form.len() <= words.len() && form.iter().zip(words).all(|(expected, (_, word))| word == expected)
        };
        let form = self.forms.iter().find(begins)?;
        let mut after = words[form.len()..].iter().take(CLOSE);
        let excused = after.any(|(_, word)| self.unless.contains(&word.as_str()));
        (!excused).then(|| form.join(" "))
    }
}

/// Every word and its line, in lower case, with names taken apart: `ReadOneRow` and `read_one_row` are three.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = persisted().fold(line.to_owned(), |line, name| without(&line, name));
        let mut word = String::new();
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            if c.is_alphabetic() {
                word.extend(c.to_lowercase());
            }
            let next = chars.peek().copied().unwrap_or(' ');
            if !next.is_alphabetic() || !c.is_alphabetic() || c.is_lowercase() && next.is_uppercase() {
                words.extend((!word.is_empty()).then(|| (i + 1, std::mem::take(&mut word))));
            }
        }
    }
    words
}

fn persisted() -> impl Iterator<Item = &'static str> {
    PERSISTED.lines().filter(|line| !line.starts_with('#'))
}

/// The line without a name where it stands whole, not as a part of another one.
fn without(line: &str, name: &str) -> String {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = String::new();
    let mut from = 0;
    for (at, _) in line.match_indices(name) {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        if !before.ends_with(part_of_name) && !after.starts_with(part_of_name) {
            rest.push_str(&line[from..at]);
            from = at + name.len();
        }
    }
    rest + &line[from..]
}

#[test]
fn each_word_is_found_in_prose_and_in_names() {
    let found = |path: &str, text: &str| check(&[Source::new(path, text)]).len();
    for text in [
        concat!("// No", "body's fault"),
        concat!("let to", "ld = 1;"),
        concat!("struct Wi", "sh;"),
        concat!("fn wait_for_tu", "rn() {}"),
        concat!("enum Call { OutOfTu", "rn }"),
        concat!("error(\"whoe", "ver asks\")"),
        concat!("// It is bro", "ught\n// again."),
        concat!("// It tu", "rned out well"),
        concat!("let a = lo", "ok(b);"),
        concat!("mod do", "ors;"),
        concat!("let unpaid_to", "ld = 1;"),
        concat!("paid_to", "ld_twice"),
    ] {
        assert_eq!(found("src/a.rs", text), 1, "{text}");
        assert_eq!(found("tests/it/a.rs", text), 1, "{text}");
        assert_eq!(found("src/a.js", text), 0, "{text}");
    }
    assert_eq!(found("docs/a.md", concat!("It is ru", "ng, to", "ld.")), 2);
    for text in [
        "return lookup(order); overlook();",
        "// turns a verdict into an acknowledgement",
        "// look the order up, look up the order",
        "\"next_look_at_ms\"",
        "row.paid_told || told_at_ms = $1",
        "let turnover = untold;",
    ] {
        assert_eq!(found("src/a.rs", text), 0, "{text}");
    }
}

#[test]
fn every_persisted_name_is_one_of_the_migrations() {
    let sources = super::source::repository();
    let migrations: Vec<&Source> = sources.iter().filter(|s| s.is_in("migrations")).collect();
    let names: Vec<&str> = persisted().collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(migrations.iter().any(|s| without(&s.text, name) != s.text), "no migration has {name}");
    }
}

#[test]
fn the_list_is_read() {
    let entries = entries();
    assert_eq!(entries.len(), LIST.lines().filter(|line| line.contains(" = ")).count());
    assert!(entries.iter().all(|e| !e.instead.is_empty() && !e.forms.is_empty()));
}
