//! Words that have no place in a finished tree, in every text file; and metrics that no dashboard would know.

use wxpay_worker::telemetry::METRICS;

use super::source::{Kind, Source, Token, tokens};

/// Marks of unfinished work. Taken apart here, so that this file does not find itself.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// The same in prose, in any case.
const PHRASES: [&str; 2] = [concat!("for", " now"), concat!("place", "holder")];

/// Folders of one person's machine.
const HOMES: [&str; 4] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

pub fn check(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources {
        for (i, line) in source.text.lines().enumerate() {
            for word in forbidden(line) {
                violations.push(source.violation(i + 1, format!("\"{word}\" has no place in a finished tree")));
            }
        }
        if source.is_rust() && source.is_in("src") {
            metrics(source, &tokens(&source.text), &mut violations);
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

/// A metric emitted by a literal name must be in the table, with no label but its own.
fn metrics(source: &Source, tokens: &[Token], violations: &mut Vec<String>) {
    for (i, token) in tokens.iter().enumerate() {
        let emits = matches!(token.ident(), Some("counter" | "gauge" | "histogram"))
            && tokens.get(i + 1).is_some_and(|t| t.is('!'))
            && tokens.get(i + 2).is_some_and(|t| t.is('('));
        let Some(Kind::Str(name)) = tokens.get(i + 3).map(|t| &t.kind) else { continue };
        if !emits {
            continue;
        }
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
            violations.push(source.violation(token.line, format!("{name} is not in telemetry's METRICS")));
            continue;
        };
        let arguments = tokens[i + 3..].split(|t| t.is(')')).next().unwrap_or_default();
        for window in arguments.windows(3) {
            if let Kind::Str(label) = &window[0].kind
                && window[1].is('=')
                && window[2].is('>')
                && !metric.labels.contains(&label.as_str())
            {
                violations.push(source.violation(window[0].line, format!("{name} has no label {label} in METRICS")));
            }
        }
    }
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
    assert_eq!(found(label), ["src/a.rs:2: wxpay_outbox_pending has no label openid in METRICS"]);
}
