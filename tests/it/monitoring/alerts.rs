//! `deploy/prometheus/alerts.yml`, read as strictly as Prometheus reads it: every key, every expression.

use super::promql::{is_duration, read};

pub const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");

/// The keys of a rule in their order, with what they are indented by.
const KEYS: [&str; 8] = [
    "      - alert: ",
    "        expr: ",
    "        for: ",
    "        labels:",
    "          severity: ",
    "        annotations:",
    "          summary: ",
    "          runbook_url: docs/runbook.md#",
];

/// What stands behind the keys of each rule. Any other line is an error.
fn rules(text: &str) -> Result<Vec<[&str; KEYS.len()]>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    for expected in ["groups:", "  - name: wxpay", "    rules:"] {
        match lines.next() {
            Some((_, line)) if line == expected => {}
            other => return Err(format!("{expected} is missing: {other:?}")),
        }
    }
    let mut rules = Vec::new();
    let mut lines = lines.peekable();
    while lines.peek().is_some() {
        let mut rule = [""; KEYS.len()];
        for (key, value) in KEYS.iter().zip(&mut rule) {
            let Some((n, line)) = lines.next() else { return Err(format!("{key} is missing at the end")) };
            *value = line.strip_prefix(*key).ok_or_else(|| format!("line {}: {line:?} is not {key:?}", n + 1))?;
            plain(value).map_err(|why| format!("line {}: {why}", n + 1))?;
            if value.is_empty() != key.ends_with(':') {
                return Err(format!("line {}: {line:?}", n + 1));
            }
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// What YAML takes as one text without quotes.
fn plain(value: &str) -> Result<(), String> {
    let starts_as_something_else = value.starts_with(|c: char| "[]{}&*#?|<>=!%@`'\"-, ".contains(c));
    if starts_as_something_else || value.ends_with(' ') || value.contains(": ") || value.contains(" #") {
        return Err(format!("{value:?} needs quotes"));
    }
    Ok(())
}

#[test]
fn the_rules_have_the_form_that_prometheus_reads() {
    let rules = rules(ALERTS).unwrap_or_else(|why| panic!("{why}"));
    assert!(rules.len() >= 20, "{}", rules.len());
    let mut names: Vec<&str> = rules.iter().map(|rule| rule[0]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rules.len(), "each has a name of its own");
    for [name, expression, lasts, _, severity, _, summary, entry] in rules {
        let used = read(expression).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(!used.metrics.is_empty() || expression.starts_with("up{"), "{name} uses no metric of ours");
        assert!(name.starts_with("WechatPay") && name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}");
        assert!(is_duration(lasts), "{name} for {lasts}");
        assert!(["page", "ticket"].contains(&severity), "{name}: {severity}");
        assert!(summary.len() > 10 && !summary.ends_with('.'), "{name}: {summary}");
        assert_eq!(entry, name.to_lowercase());
    }
}

#[test]
fn another_form_is_refused() {
    for (from, to) in [
        ("    rules:\n", "    rule:\n"),
        ("        for: 1m\n", ""),
        ("        for: 1m\n", "        For: 1m\n"),
        ("        for: 1m\n", "        for: 1m\n        since: 1m\n"),
        ("severity: page", "severity: page: now"),
        ("severity: page", "severity: "),
        ("          severity: page", "        severity: page"),
    ] {
        assert!(ALERTS.contains(from), "{from}");
        assert!(rules(&ALERTS.replacen(from, to, 1)).is_err(), "{to}");
    }
}
