//! Who may import whom: paths in `use` trees and in code, resolved to the crate's modules.

use std::collections::BTreeSet;

use super::source::{Kind, Source, Token, tokens};

/// The modules a module may use, by the beginning of their path. What is not here may not.
///
/// Vocabulary ← order ← everything; the protocol knows no storage, the storage no protocol, the simulator nothing of the
/// service. A new module needs a line here first: that is the moment to think about its place.
const MAY_USE: &[(&str, &str)] = &[
    ("clock", ""),
    ("crash", ""),
    ("group", ""),
    ("money", ""),
    ("retry", ""),
    ("secret", ""),
    ("seal", "secret"),
    ("ids", "secret"),
    // How an order is paid is a word of WeChat's that facts and commands carry. Of secrets, only the digest.
    ("event", "money ids clock order::TradeType secret::sha256_hex"),
    // A decision compares times it is given; it never asks for one.
    ("order", "money ids event clock::Timestamp secret::sha256_hex"),
    // Whether a certificate and its key fit is known where they are used; whether it has expired, by the clock.
    ("config", "money ids clock secret order wechat::v2::sign wechat::certificate"),
    ("telemetry", "config"),
    ("wechat", "money ids clock secret config telemetry retry event::fact order::TradeType"),
    ("store", "money ids clock secret seal config telemetry event order group crash"),
    ("bus", "ids clock secret config telemetry event group store crash"),
    ("relay", "ids clock config telemetry event group store bus crash"),
    (
        "worker",
        "money ids clock secret seal config telemetry event order wechat store bus group retry crash new_order new_refund",
    ),
    ("reconcile", "money ids clock secret config telemetry event order wechat store crash"),
    ("replay", "money ids clock config telemetry event order store bus crash"),
    (
        "scheduler",
        "money ids clock secret seal config telemetry event order wechat store bus reconcile replay retry crash",
    ),
    ("ops", "money ids clock config telemetry event order wechat store bus reconcile replay"),
    ("console", "money ids clock config ops"),
    (
        "ingress",
        "money ids clock secret seal config telemetry event order wechat store bus group ops retry crash new_order new_refund",
    ),
    ("new_order", "money ids clock config event order wechat::v2::unified_order store"),
    ("new_refund", "money ids clock config event order wechat::v2::refund store"),
    ("sandbox", "money ids clock secret order::TradeType wechat::v2"),
];

/// The composition root and the demo put everything together.
const MAY_USE_ALL: &[&str] = &["app", "demo", "lib"];

/// A path as it stands in the code, from its first name.
#[derive(Debug, PartialEq, Eq)]
pub struct Path {
    pub line: usize,
    pub names: Vec<String>,
}

/// Every path of two names or more, and every `use`, with grouped imports taken apart.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].ident() == Some("use") {
            at = use_tree(tokens, at + 1, &[], &mut paths);
        } else if tokens[at].ident().is_some() && !continues(tokens, at) {
            let start = at;
            let mut names = vec![tokens[at].ident().unwrap_or_default().to_owned()];
            while separator(tokens, at + 1)
                && let Some(name) = tokens.get(at + 3).and_then(Token::ident)
            {
                names.push(name.to_owned());
                at += 3;
            }
            if names.len() > 1 {
                paths.push(Path { line: tokens[start].line, names });
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    paths
}

fn separator(tokens: &[Token], at: usize) -> bool {
    tokens.get(at).is_some_and(|t| t.is(':')) && tokens.get(at + 1).is_some_and(|t| t.is(':'))
}

fn continues(tokens: &[Token], at: usize) -> bool {
    at >= 1 && tokens[at - 1].is('.') || at >= 2 && separator(tokens, at - 2)
}

/// Reads one branch of a `use` tree; answers where it ended.
fn use_tree(tokens: &[Token], mut at: usize, above: &[String], paths: &mut Vec<Path>) -> usize {
    let mut names = above.to_vec();
    let line = tokens.get(at).map_or(0, |t| t.line);
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Ident(name) if name == "as" => at += 2,
            Kind::Ident(name) => {
                names.push(name.clone());
                at += 1;
            }
            Kind::Punct('{') => {
                at += 1;
                while tokens.get(at).is_some_and(|t| !t.is('}')) {
                    at = use_tree(tokens, at, &names, paths);
                    at += usize::from(tokens.get(at).is_some_and(|t| t.is(',')));
                }
                return at + 1;
            }
            Kind::Punct(':' | '*') => at += 1,
            Kind::Punct(_) | Kind::Str(_) => break,
        }
    }
    // `impl Trait + use<'a>` is the other `use`, and names nothing.
    if !names.is_empty() {
        paths.push(Path { line, names });
    }
    at
}

/// Imports that the table does not allow.
pub fn check(sources: &[Source]) -> Vec<String> {
    let src: Vec<&Source> = sources.iter().filter(|s| s.is_in("src") && s.is_rust()).collect();
    let modules: BTreeSet<String> = src.iter().filter_map(|s| module(&s.path).into_iter().next()).collect();
    let mut violations = Vec::new();
    for source in src {
        let own = module(&source.path);
        let Some(top) = own.first() else { continue };
        if MAY_USE_ALL.contains(&top.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == top) else {
            violations.push(source.violation(1, format!("{top} has no line in MAY_USE: say what it may import")));
            continue;
        };
        for path in paths(&tokens(&source.text)) {
            let Some(target) = resolve(&own, &path.names) else { continue };
            let Some(first) = target.first() else { continue };
            if first == top || !modules.contains(first) {
                continue;
            }
            let target = target.join("::");
            let fits = |rule: &str| target == rule || target.starts_with(&format!("{rule}::"));
            if !allowed.split_whitespace().any(fits) {
                violations.push(source.violation(path.line, format!("{top} may not use {target}")));
            }
        }
    }
    violations
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`; `src/lib.rs` is the crate itself.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// A path from the crate's root, if it leads there.
fn resolve(own: &[String], names: &[String]) -> Option<Vec<String>> {
    let supers = names.iter().take_while(|name| *name == "super").count();
    match names.first().map(String::as_str) {
        Some("crate") => Some(names[1..].to_vec()),
        Some("super") => {
            let base = own.get(..own.len().saturating_sub(supers)).unwrap_or_default();
            Some([base, &names[supers..]].concat())
        }
        Some(_) | None => None,
    }
}

#[test]
fn forbidden_imports_are_found_however_they_are_written() {
    let others = ["money", "store/mod", "bus/mod", "event/mod", "wechat/mod"]
        .map(|name| Source::new(&format!("src/{name}.rs"), "//! x\n"));
    let found = |path: &str, code: &str| {
        let mut sources: Vec<Source> = others.iter().map(|s| Source::new(&s.path, &s.text)).collect();
        sources.push(Source::new(path, code));
        check(&sources)
    };
    for code in [
        "use crate::store::Db;",
        "use crate::{money::Fen, store::{self, Db}};",
        "fn f() { let x = crate::store::open(); }",
        "use super::super::super::store::Db;",
        "use crate::store as s;",
        "pub(in crate::store) fn f() {}",
        "type X = Vec<crate::store::Db>;",
    ] {
        let violations = found("src/wechat/v2/query.rs", code);
        assert!(!violations.is_empty(), "not found: {code}");
        assert!(violations[0].starts_with("src/wechat/v2/query.rs:1: wechat may not use store"), "{violations:?}");
    }
    for code in [
        "use crate::money::Fen;",
        "// use crate::store::Db;",
        "const S: &str = \"crate::store::Db\";",
        "use super::xml::parse; use super::super::store::Db; use crate::wechat::outcome;",
        "use crate::event::fact::Fact;",
        "crate::some_macro!();",
        "fn f<'a>() -> impl Iterator<Item = u8> + use<'a> { g() }",
    ] {
        assert_eq!(found("src/wechat/v2/query.rs", code), [] as [String; 0], "{code}");
    }
    assert_eq!(found("src/wechat/v2/query.rs", "use crate::event::domain::Paid;").len(), 1);
    assert_eq!(found("src/novel.rs", ""), ["src/novel.rs:1: novel has no line in MAY_USE: say what it may import"]);
    assert_eq!(found("src/app.rs", "use crate::store::Db;"), [] as [String; 0]);
}
