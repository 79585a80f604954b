//! The figures of the tree: `cargo test --test it -- tidy::figures --nocapture` prints them.

use super::circles::Graph;
use super::repository::findings;
use super::source::{self, Source};
use super::width::folders;

const PLACES: [&str; 4] = ["src", "bin", "migrations", "tests"];

fn table(sources: &[Source]) -> Vec<[String; 7]> {
    let heading = ["", "files", "lines", "median", "p90", "widest folder", "functions over 70"];
    let findings = findings(sources);
    let rows = PLACES.map(|place| {
        let rust = sources.iter().filter(|s| s.is_rust() && s.is_in(place));
        let mut lines: Vec<usize> = rust.map(|s| s.text.lines().count()).collect();
        lines.sort_unstable();
        let widest = folders(sources).into_iter().filter(|(folder, _)| Source::new(folder, "").is_in(place));
        let widest =
            widest.max_by_key(|(_, files)| *files).map_or(String::new(), |(folder, n)| format!("{n} {folder}"));
        let long = findings.iter().filter(|f| f.rule == "function" && Source::new(&f.path, "").is_in(place)).count();
        let figures = [lines.len(), lines.iter().sum(), percentile(&lines, 50), percentile(&lines, 90)];
        let [files, sum, median, p90] = figures.map(|n| n.to_string());
        [place.to_owned(), files, sum, median, p90, widest, long.to_string()]
    });
    std::iter::once(heading.map(str::to_owned)).chain(rows).collect()
}

/// The smallest value that so many of a hundred do not exceed.
fn percentile(sorted: &[usize], percent: usize) -> usize {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// Each rule with exceptions: how often it is broken, and in how many files; words in the program and in all.
fn breaches(sources: &[Source]) -> Vec<String> {
    let findings = findings(sources);
    let of = |rule: &str, place: &str| {
        let in_place = findings.iter().filter(|f| f.rule == rule && Source::new(&f.path, "").is_in(place));
        in_place.map(|f| f.weight).sum::<usize>()
    };
    let mut lines: Vec<String> = ["circle", "file", "folder", "function", "line", "stale", "upward", "words"]
        .map(|rule| {
            let counts = PLACES.map(|place| format!("{place} {}", of(rule, place)));
            format!("{rule}: {}, README and docs {}", counts.join(", "), of(rule, "README.md") + of(rule, "docs"))
        })
        .to_vec();
    for root in ["src", "tests/it"] {
        let circles = Graph::of(sources, root).circles();
        let files: Vec<String> = circles.iter().map(|circle| circle.len().to_string()).collect();
        lines.push(format!("circles of files in {root}: {}, of {} files", circles.len(), files.join(" + ")));
    }
    lines
}

#[test]
#[allow(clippy::print_stderr, reason = "the figures are the output")]
fn the_figures_are_printed() {
    let sources = source::repository();
    let table = table(&sources);
    for [place, files, lines, median, p90, widest, long] in &table {
        eprintln!("{place:<12}{files:>8}{lines:>8}{median:>8}{p90:>6}  {widest:<28}{long:>18}");
    }
    eprintln!("{}", breaches(&sources).join("\n"));
    assert!(table[1..].iter().all(|row| row[1] != "0" && !row[5].is_empty()), "{table:?}");
}

#[test]
fn figures_are_those_of_the_files() {
    let sources: Vec<Source> =
        (1..=10).map(|n| Source::new(&format!("src/a/f{n}.rs"), &"fn f() {}\n".repeat(n))).collect();
    let table = table(&sources);
    assert_eq!(table[1], ["src", "10", "55", "5", "9", "10 src/a", "0"]);
    assert_eq!(percentile(&[], 50), 0);
}
