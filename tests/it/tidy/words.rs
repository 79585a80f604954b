//! Words that have no place in a finished tree, in every text file; and metrics that no dashboard would know.

use std::collections::{BTreeMap, BTreeSet};

use wxpay_worker::telemetry::METRICS;

use super::ledger::Finding;
use super::source::{Kind, Source, Token, tokens};

/// Marks of unfinished work. Taken apart here, so that this file does not find itself.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// The same in prose, in any case.
const PHRASES: [&str; 2] = [concat!("for", " now"), concat!("place", "holder")];

/// Folders of one person's machine.
const HOMES: [&str; 4] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

pub fn check(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    let constants = constants(sources);
    for source in sources {
        for (i, line) in source.text.lines().enumerate() {
            for word in forbidden(line) {
                violations.push(source.violation(i + 1, format!("\"{word}\" has no place in a finished tree")));
            }
        }
        if source.is_rust() && source.is_in("src") {
            metrics(source, &constants, &mut violations);
        }
    }
    violations
}

fn forbidden(line: &str) -> Vec<&'static str> {
    let lower = line.to_lowercase();
    let marks = MARKS.into_iter().filter(|word| whole_word(line, word, ""));
    // `placeholder="…"` is HTML's own word.
    let phrases = PHRASES.into_iter().filter(|phrase| whole_word(&lower, phrase, "="));
    let homes = HOMES.into_iter().filter(|home| {
        line.match_indices(home).any(|(at, _)| {
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}' | ')'))
        })
    });
    marks.chain(phrases).chain(homes).collect()
}

fn whole_word(text: &str, word: &str, unless_before: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let excused = !unless_before.is_empty() && after.starts_with(unless_before);
        !before.ends_with(part_of_word) && !after.starts_with(part_of_word) && !excused
    })
}

/// The constants that name metrics, and the names.
fn constants(sources: &[Source]) -> BTreeMap<String, String> {
    let mut constants = BTreeMap::new();
    for source in sources.iter().filter(|s| s.is_in("src/telemetry")) {
        for window in tokens(&source.text).windows(7) {
            if let (Some("const"), Some(constant), Kind::Str(name)) =
                (window[0].ident(), window[1].ident(), &window[6].kind)
            {
                constants.insert(constant.to_owned(), name.clone());
            }
        }
    }
    constants
}

/// Sets gauges by their names: its callers are what emits.
const SHOWN: &str = "src/scheduler/shown.rs";

/// Every metric that is counted, set or recorded: its line, its name, and the labels it gets.
fn emitted(source: &Source, constants: &BTreeMap<String, String>) -> Vec<(usize, String, Vec<String>)> {
    let tokens = tokens(&source.text);
    let mut emitted = Vec::new();
    for i in (0..tokens.len()).filter(|_| source.path != SHOWN) {
        let is = |at: usize, c: char| tokens.get(at).is_some_and(|t| t.is(c));
        let by_macro = matches!(tokens[i].ident(), Some("counter" | "gauge" | "histogram")) && is(i + 1, '!');
        let shown = tokens[i].ident() == Some("shown") && is(i + 1, '.') && tokens[i + 2].ident() == Some("set");
        let Some(open) = by_macro.then_some(i + 2).or(shown.then_some(i + 3)).filter(|open| is(*open, '(')) else {
            continue;
        };
        let arguments = tokens[open + 1..].split(|t| t.is(if shown { ';' } else { ')' })).next().unwrap_or_default();
        let name = arguments.split(|t| t.is(',')).next().and_then(<[Token]>::last).map(|t| &t.kind);
        let name = match name {
            Some(Kind::Str(name)) => name.clone(),
            Some(Kind::Ident(constant)) => constants.get(constant).unwrap_or(constant).clone(),
            Some(Kind::Punct(_)) | None => continue,
        };
        // "label" => of the macros, ("label", of a list.
        let label = |w: &[Token]| match &w[1].kind {
            Kind::Str(label) if w[2].is('=') && w[3].is('>') => Some(label.clone()),
            Kind::Str(label) if shown && w[0].is('(') && w[2].is(',') => Some(label.clone()),
            _ => None,
        };
        emitted.push((tokens[i].line, name, arguments.windows(4).filter_map(label).collect()));
    }
    emitted
}

/// An emitted metric must be in the table, with no label but its own.
fn metrics(source: &Source, constants: &BTreeMap<String, String>, violations: &mut Vec<String>) {
    for (line, name, labels) in emitted(source, constants) {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
            violations.push(source.violation(line, format!("{name} is not in telemetry's METRICS")));
            continue;
        };
        for label in labels.iter().filter(|label| !metric.labels.contains(&label.as_str())) {
            violations.push(source.violation(line, format!("{name} has no label {label} in METRICS")));
        }
    }
}

/// Metrics that are named in telemetry and that nothing emits.
pub fn silent_metrics(sources: &[Source]) -> Vec<Finding> {
    let constants = constants(sources);
    let src = sources.iter().filter(|s| s.is_rust() && s.is_in("src"));
    let emitted: BTreeSet<String> = src.flat_map(|s| emitted(s, &constants)).map(|(_, name, _)| name).collect();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_in("src/telemetry")) {
        for token in tokens(&source.text) {
            if let Kind::Str(name) = &token.kind
                && name.starts_with("wxpay_")
                && !emitted.contains(name)
            {
                findings.push(Finding::new("stale", source, token.line, format!("nothing emits {name}")));
            }
        }
    }
    findings
}

#[test]
fn words_of_unfinished_work_are_found_and_their_likes_are_not() {
    for line in [
        concat!("// TO", "DO: later"),
        concat!("# FIX", "ME"),
        concat!("let a = 1; // X", "XX"),
        concat!("// good enough For", " now."),
        concat!("a Place", "holder text"),
        concat!("cd /ro", "ot/project"),
        concat!("path = \"/ho", "me/alice/x\""),
        concat!("see file:/wo", "rk/x"),
    ] {
        let violations = check(&[Source::new("docs/a.md", &format!("fine\n{line}"))]);
        assert!(matches!(&*violations, [v] if v.starts_with("docs/a.md:2: ")), "{line}: {violations:?}");
    }
    for line in [
        "mktemp -d /tmp/wxpay.XXXXXX",
        "todo!() is a macro that clippy refuses",
        concat!("<input place", "holder=\"0.01\">"),
        "https://example.com/home/pay and $HOME/x",
        "as for nowhere, that is another word",
    ] {
        assert_eq!(check(&[Source::new("docs/a.md", line)]), [] as [String; 0], "{line}");
    }
}

#[test]
fn a_metric_outside_the_table_is_found() {
    let found = |code: &str| check(&[Source::new("src/a.rs", code)]);
    let fine = "histogram!(\"wxpay_wechat_request_seconds\", \"api\" => api, \"outcome\" => o).record(d); f(\"x\");";
    assert_eq!(found(fine), [] as [String; 0]);
    assert_eq!(found("counter!(\"wxpay_odd_total\");"), ["src/a.rs:1: wxpay_odd_total is not in telemetry's METRICS"]);
    let label = "metrics::gauge!(\"wxpay_outbox_pending\",\n \"openid\" => id).set(1);";
    assert_eq!(found(label), ["src/a.rs:1: wxpay_outbox_pending has no label openid in METRICS"]);
}

#[test]
fn a_metric_that_is_emitted_by_its_constant_or_not_at_all_is_found() {
    let telemetry = "pub const PENDING: &str = \"wxpay_outbox_pending\";\npub const ODD: &str = \"wxpay_odd\";";
    let with = |code: &str| [Source::new("src/telemetry/m.rs", telemetry), Source::new("src/a.rs", code)];
    let labelled = check(&with("gauge!(telemetry::PENDING, \"openid\" => id).set(1); counter!(ODD).increment(1);"));
    assert_eq!(
        labelled,
        [
            "src/a.rs:1: wxpay_outbox_pending has no label openid in METRICS",
            "src/a.rs:1: wxpay_odd is not in telemetry's METRICS",
        ]
    );
    let shown = check(&with("ctx.shown.set(telemetry::PENDING, &[(\"openid\", id.as_str())], f(1.0));"));
    assert_eq!(shown, ["src/a.rs:1: wxpay_outbox_pending has no label openid in METRICS"]);
    let silent = |code: &str| silent_metrics(&with(code)).into_iter().map(|f| (f.line, f.text)).collect::<Vec<_>>();
    assert_eq!(silent("gauge!(PENDING).set(1);"), [(2, "nothing emits wxpay_odd".to_owned())]);
    assert_eq!(silent("gauge!(PENDING).set(1); counter!(\"wxpay_odd\").increment(1);"), []);
}
