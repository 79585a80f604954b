//! What texts name must exist: files, tests, modules, names in code, programs, and the values of metrics' labels.

use std::collections::BTreeSet;
use std::path::Path;

use super::imports::module;
use super::ledger::Finding;
use super::source::{Kind, Source, tokens};

/// The top folders whose paths are recognised in a text.
const FOLDERS: &[&str] = &["benches/", "bin/", "deploy/", "docs/", "migrations/", "nats/", "src/", "tests/"];

pub fn of_the_repository(sources: &[Source]) -> Vec<Finding> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    check(sources, &|path| root.join(path).exists())
}

/// `exists` answers for a path of the repository, a file or a folder.
fn check(sources: &[Source], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let known = Known::of(sources);
    let mut findings = Vec::new();
    for source in sources {
        for (i, line) in source.text.lines().enumerate() {
            if is_prose(source, line) {
                let gone = paths(line).into_iter().chain(outside(line)).filter(|path| !exists(path));
                findings.extend(gone.map(|path| stale(source, i + 1, format!("there is no {path}"))));
            }
            let gone = programs(line).filter(|name| says_programs(source) && !known.programs.contains(*name));
            findings.extend(gone.map(|name| stale(source, i + 1, format!("there is no program {name}"))));
            if is_guide(source) {
                let gone = quoted(line).filter(|name| !known.has(name));
                findings.extend(gone.map(|name| stale(source, i + 1, format!("nothing is called {name}"))));
            }
            if source.path == METRICS && line.trim_start().starts_with("///") {
                let gone = spans(line).filter(|value| !known.says(value));
                findings.extend(gone.map(|v| stale(source, i + 1, format!("no metric has or gets {v}"))));
            }
        }
    }
    findings
}

/// Where each metric is explained, with the values of its labels.
const METRICS: &str = "src/telemetry/metrics.rs";

/// Comments, and everything in files that are read rather than run.
fn is_prose(source: &Source, line: &str) -> bool {
    let read = [".md", ".toml"].iter().any(|end| source.path.ends_with(end));
    read || source.is_rust() && line.trim_start().starts_with("//")
}

/// The texts that lead through the code.
fn is_guide(source: &Source) -> bool {
    let line_of_map = source.path == "src/lib.rs";
    line_of_map || source.path == "README.md" || source.is_in("docs") && source.path.ends_with(".md")
}

fn says_programs(source: &Source) -> bool {
    ["README.md", "docs", "src", "bin", "deploy", "docker-compose.yml"].iter().any(|place| source.is_in(place))
}

/// Paths from the repository's root.
fn paths(line: &str) -> Vec<&str> {
    let part_of_path = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let starts = FOLDERS.iter().flat_map(|folder| line.match_indices(folder).map(|(at, _)| at));
    let whole = starts.filter(|at| !line[..*at].ends_with(part_of_path) && !line[..*at].ends_with(['}', ':', '$']));
    whole
        .map(|at| {
            let path = &line[at..];
            let end = path.find(|c: char| !part_of_path(c)).unwrap_or(path.len());
            let open = path[end..].starts_with(['*', '{', '<', '$', '…']);
            let known = if open { path[..end].rfind('/').unwrap_or(end) } else { end };
            path[..known].trim_end_matches(['.', '/', '-'])
        })
        .collect()
}

/// Sections of documents that are not in the tree.
fn outside(line: &str) -> Option<&str> {
    let section = ["contract section", "contract, section"];
    section.into_iter().find_map(|name| line.find(name).map(|at| &line[at..at + name.len()]))
}

fn programs(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'));
    words.filter(|word| {
        let rest = word.strip_prefix("wxpay").unwrap_or_default();
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase())
    })
}

/// What stands between backticks and is a name: a path of modules, or a word in snake case.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    let names = spans(line).map(|name| name.trim_end_matches("()"));
    names.filter(|name| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '*' | '…'));
        plain && (name.contains("::") || name.contains('_') && name.chars().any(|c| c.is_ascii_lowercase()))
    })
}

fn stale(source: &Source, line: usize, text: String) -> Finding {
    Finding::new("stale", source, line, text)
}

fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// What the program and its tests are made of.
struct Known {
    programs: BTreeSet<String>,
    /// Modules of the program and of the tests, as paths.
    modules: Vec<(String, BTreeSet<String>)>,
    /// Every word of the program, its tests and its settings.
    words: BTreeSet<String>,
    /// The texts of the program, and the names of types and variants.
    said: BTreeSet<String>,
}

impl Known {
    fn of(sources: &[Source]) -> Known {
        let manifest = sources.iter().find(|s| s.path == "Cargo.toml").map_or("", |s| &s.text);
        let bins = manifest.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1)).map(str::to_owned);
        let mut known =
            Known { programs: bins.collect(), modules: Vec::new(), words: BTreeSet::new(), said: BTreeSet::new() };
        for source in sources {
            let code = ["src", "bin", "migrations", "tests", "deploy", "nats"].iter().any(|place| source.is_in(place));
            let words = source.text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
            if code && source.path != "src/lib.rs" && !source.path.ends_with(".md") {
                known.words.extend(words);
            }
            if source.is_rust() && ["src", "tests/it"].iter().any(|root| source.is_in(root)) {
                let tokens = tokens(&source.text);
                let names = tokens.iter().filter_map(|t| t.ident().map(str::to_owned)).collect();
                if source.is_in("src") {
                    known.said.extend(tokens.into_iter().filter_map(|t| match t.kind {
                        Kind::Str(text) => Some(text),
                        Kind::Ident(name) => name.starts_with(char::is_uppercase).then_some(name),
                        Kind::Punct(_) => None,
                    }));
                }
                let path = source.path.strip_prefix("tests/it/").unwrap_or(&source.path);
                known.modules.push((module(path).join("::"), names));
            }
        }
        known
    }

    /// A module, an item or a test in it, or a word of the code. `*` stands for what a macro inserts, `…` for an end.
    fn has(&self, name: &str) -> bool {
        let Some((above, last)) = name.rsplit_once("::") else { return self.words.contains(name) };
        let beginning = last.strip_suffix('…');
        let fits = |word: &String| beginning.map_or(word == last, |beginning| word.starts_with(beginning));
        let above = above.trim_end_matches("::*");
        self.modules.iter().any(|(module, names)| {
            let below = module == above || module.starts_with(&format!("{above}::"));
            module == name || module.starts_with(&format!("{name}::")) || below && names.iter().any(fits)
        })
    }

    /// Whether the program has the word, as a text or as the variant that becomes it.
    fn says(&self, word: &str) -> bool {
        let camel: String = word.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect();
        self.said.contains(word) || self.said.contains(&camel)
    }
}

#[cfg(test)]
fn tree(path: &str, text: &str) -> Vec<String> {
    let tree = [
        ("Cargo.toml", "[[bin]]\nname = \"wxpayd\"\n"),
        ("src/order/decide.rs", "fn decide() { count(\"settled\") } // gone"),
        ("tests/it/faults/storm.rs", "fn a_storm_ends() {} const COLUMN: &str = \"paid_at\";"),
        (METRICS, "/// By `kind` (`settled`).\nconst LABELS: &[&str] = &[\"kind\"];"),
    ];
    let sources: Vec<Source> = tree.iter().map(|(path, text)| Source::new(path, text)).collect();
    let exists = |path: &str| tree.iter().any(|(p, _)| *p == path || p.starts_with(&format!("{path}/")));
    let mut sources: Vec<Source> = sources.into_iter().filter(|s| s.path != path).collect();
    sources.push(Source::new(path, text));
    check(&sources, &exists).into_iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.text)).collect()
}

#[test]
fn a_path_a_program_or_a_name_that_does_not_exist_is_found() {
    for (path, text, says) in [
        ("README.md", "see `src/order/place.rs`", "there is no src/order/place.rs"),
        ("README.md", "[x](docs/gone.md)", "there is no docs/gone.md"),
        ("src/order/a.rs", "// as in tests/it/gone.", "there is no tests/it/gone"),
        ("src/order/a.rs", "//! as the contract section 1 says", "there is no contract section"),
        ("deploy/a.toml", "# `wxpayctl keys new` prints a key", "there is no program wxpayctl"),
        ("src/lib.rs", "//! `faults::storms`", "nothing is called faults::storms"),
        ("README.md", "`faults::storm::*::a_storm_begins`", "nothing is called faults::storm::*::a_storm_begins"),
        ("docs/a.md", "`paid_before`", "nothing is called paid_before"),
        (METRICS, "/// By `gone` and `kind`\nconst L: &[&str] = &[\"kind\"];", "no metric has or gets gone"),
    ] {
        assert_eq!(tree(path, text), [format!("{path}:1: {says}")], "{text}");
    }
}

#[test]
fn what_exists_is_left_alone() {
    for (path, text) in [
        ("README.md", "`src/order/`, `tests/it/*/storm.rs`, https://example.com/docs/x, ./docs/y, `cargo run`"),
        ("README.md", "`wxpayd` reads wxpay.toml and counts wxpay_orders_total"),
        ("src/lib.rs", "//! `faults::storm`, `faults::*::a_storm_…`, [`order::decide::decide()`], `paid_at`, `OK`"),
        ("src/order/a.rs", "const PATH: &str = \"tests/it/gone\";"),
    ] {
        assert_eq!(tree(path, text), [] as [String; 0], "{text}");
    }
}
