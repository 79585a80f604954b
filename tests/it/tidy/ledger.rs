//! Breaches that the tree still has: `lists/exceptions.txt`, one line per rule and file. The list only shrinks.

use std::collections::BTreeMap;

use super::source::Source;

/// A breach of a rule that has exceptions.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    /// The file, or the folder where the rule is about folders.
    pub path: String,
    pub line: usize,
    /// How much it counts in the list; 1 unless the rule says otherwise.
    pub weight: usize,
    pub text: String,
}

impl Finding {
    pub fn new(rule: &'static str, source: &Source, line: usize, text: impl Into<String>) -> Finding {
        Finding { rule, path: source.path.clone(), line, weight: 1, text: text.into() }
    }
}

type Counts = BTreeMap<(String, String), usize>;

const UPDATE: &str = "WXPAY_TIDY_UPDATE=1 cargo test --test it -- tidy::repository";

/// What differs between the findings and the list: breaches in full, and numbers that are too high.
pub fn check(findings: &[Finding], list: &str) -> Vec<String> {
    let (found, listed) = (count(findings), read(list));
    let mut violations = Vec::new();
    for ((rule, path), &n) in &found {
        let allowed = listed.get(&(rule.clone(), path.clone())).copied().unwrap_or(0);
        if n > allowed {
            violations.push(format!("{path}: {n} of the rule \"{rule}\", {allowed} excepted:"));
            let breaches = findings.iter().filter(|f| f.rule == *rule && f.path == *path);
            violations.extend(breaches.map(|f| format!("    {}:{}: {}", f.path, f.line, f.text)));
        }
    }
    for ((rule, path), &allowed) in &listed {
        let n = found.get(&(rule.clone(), path.clone())).copied().unwrap_or(0);
        if n < allowed {
            let what = format!("{rule} {path}: {allowed} excepted, {n} there");
            violations.push(format!("exceptions.txt: {what}: lower the number ({UPDATE})"));
        }
    }
    if violations.is_empty() && list != write(&listed) {
        violations.push(format!("exceptions.txt: not sorted, or a line stands twice ({UPDATE})"));
    }
    violations
}

/// The list with today's numbers. A file may have moved, so what must not grow is the sum of each rule.
///
/// Reads a list that a merge left in conflict: of two numbers for one file the higher one is taken.
pub fn update(findings: &[Finding], list: &str) -> Result<String, String> {
    let (found, listed) = (count(findings), read(list));
    let sum = |counts: &Counts, rule: &str| counts.iter().filter(|(key, _)| key.0 == rule).map(|(_, n)| n).sum();
    for (rule, _) in found.keys() {
        let (now, before): (usize, usize) = (sum(&found, rule), sum(&listed, rule));
        if now > before {
            return Err(format!("the rule \"{rule}\" is broken {now} times, {before} are excepted: mend it instead"));
        }
    }
    Ok(write(&found))
}

fn count(findings: &[Finding]) -> Counts {
    let mut counts = Counts::new();
    for finding in findings {
        *counts.entry((finding.rule.to_owned(), finding.path.clone())).or_default() += finding.weight;
    }
    counts
}

fn read(list: &str) -> Counts {
    let mut counts = Counts::new();
    for line in list.lines() {
        if let [rule, path, n] = line.split_whitespace().collect::<Vec<_>>()[..]
            && let Ok(n) = n.parse::<usize>()
        {
            let listed = counts.entry((rule.to_owned(), path.to_owned())).or_insert(0);
            *listed = n.max(*listed);
        }
    }
    counts
}

fn write(counts: &Counts) -> String {
    counts.iter().map(|((rule, path), n)| format!("{rule} {path} {n}\n")).collect()
}

#[cfg(test)]
fn findings(counts: &[(&'static str, &str, usize)]) -> Vec<Finding> {
    let finding = |rule, path: &str, line| Finding::new(rule, &Source::new(path, ""), line, "bad");
    counts.iter().flat_map(|&(rule, path, n)| (1..=n).map(move |line| finding(rule, path, line))).collect()
}

#[test]
fn more_than_the_list_says_is_a_breach_and_fewer_lower_it() {
    let two = findings(&[("width", "src/a.rs", 2)]);
    assert_eq!(check(&two, "width src/a.rs 2\n"), [] as [String; 0]);
    let breach = check(&two, "width src/a.rs 1\n");
    assert_eq!(breach[0], "src/a.rs: 2 of the rule \"width\", 1 excepted:");
    assert_eq!(breach[1..], ["    src/a.rs:1: bad", "    src/a.rs:2: bad"]);
    assert_eq!(check(&two, "words src/a.rs 2\n").len(), 4, "another rule's exception does not count");
    let lower = check(&two, "width src/a.rs 3\n");
    assert!(matches!(&*lower, [v] if v.contains("3 excepted, 2 there: lower the number")), "{lower:?}");
    let gone = check(&[], "width src/b.rs 1\n");
    assert!(matches!(&*gone, [v] if v.contains("src/b.rs: 1 excepted, 0 there")), "{gone:?}");
    let both = findings(&[("width", "src/a.rs", 1), ("words", "src/a.rs", 1)]);
    assert_eq!(check(&both, "words src/a.rs 1\nwidth src/a.rs 1\n").len(), 1, "the order is part of the list");
}

#[test]
fn the_list_is_rewritten_for_moved_files_but_never_grows() {
    let moved = findings(&[("width", "src/b/a.rs", 2), ("words", "src/a.rs", 1)]);
    let list = "width src/a.rs 3\nwords src/a.rs 1\n";
    assert_eq!(update(&moved, list).unwrap(), "width src/b/a.rs 2\nwords src/a.rs 1\n");
    assert!(update(&moved, "width src/a.rs 3\n").unwrap_err().contains("\"words\" is broken 1 times, 0 are excepted"));
    let conflict = "<<<<<<< one\nwidth src/a.rs 2\n=======\nwidth src/a.rs 1\nwords src/a.rs 1\n>>>>>>> other\n";
    assert_eq!(update(&moved, conflict).unwrap(), "width src/b/a.rs 2\nwords src/a.rs 1\n");
}
