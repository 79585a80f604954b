//! Who may import whom: paths in `use` trees and in code, resolved to the crate's modules.

use std::collections::BTreeSet;

use super::ledger::Finding;
use super::source::{Kind, Source, Token, tokens};

/// The layers, lowest first: a module and what it may use, by the beginning of the path. What is not here may not.
///
/// Vocabulary ← order ← everything; the protocol knows no storage, the storage no protocol, the simulator nothing of
/// the service. Nothing imports a layer above its own. A part of a module (`a::b`) may have a layer of its own. A new
/// module needs a line here first: that is the moment to think about its place.
const MAY_USE: &[(&str, &str)] = &[
    ("clock", ""),
    ("failpoint", ""),
    ("batcher", ""),
    ("money", ""),
    ("retry", ""),
    ("named", ""),
    ("trade", ""),
    ("secret", ""),
    ("sealed_box", "secret"),
    ("ids", "secret"),
    // How an order is paid is a word of WeChat's that facts and commands carry. Of secrets, only the digest.
    ("event", "money ids clock trade secret::sha256_hex"),
    // A decision compares times it is given; it never asks for one.
    ("order", "money ids trade event clock::Timestamp secret::sha256_hex"),
    ("refund", "money ids event order clock::Timestamp secret::sha256_hex"),
    // Compares what it is given; whose words are WeChat's, the caller knows.
    ("reconciliation", "clock::Timestamp"),
    ("config", "money ids clock secret order trade"),
    ("telemetry", "config"),
    ("wechat", "money ids clock secret config telemetry retry event::fact trade"),
    (
        "store",
        "money ids clock secret sealed_box config telemetry event order refund reconciliation trade batcher failpoint",
    ),
    ("intake", "ids clock telemetry failpoint"),
    ("bus", "ids clock secret config telemetry event batcher retry store failpoint"),
    ("relay", "ids clock config telemetry event batcher store bus failpoint"),
    ("webhooks", "ids clock secret sealed_box config telemetry event reconciliation store"),
    ("new_order", "money ids clock config event order refund trade wechat::v2::unified_order store"),
    ("new_refund", "money ids clock config event order refund trade wechat::v2::refund store"),
    ("merchant_setup", "ids clock secret::sha256_hex config event::fact wechat store"),
    ("reconcile", "money ids clock secret config telemetry event reconciliation wechat store failpoint"),
    ("books", "ids clock store"),
    ("doctor", "ids clock secret config store bus intake wechat merchant_setup books"),
    (
        "ops",
        "money ids clock secret config telemetry event order refund reconciliation trade wechat store bus failpoint \
         new_refund webhooks reconcile",
    ),
    (
        "worker",
        "money ids clock secret sealed_box config telemetry event order refund trade wechat store bus intake \
         batcher retry failpoint new_order new_refund merchant_setup webhooks",
    ),
    (
        "scheduler",
        "money ids clock secret sealed_box config telemetry event order refund trade wechat store bus retry failpoint \
         merchant_setup ops books reconcile reconciliation",
    ),
    (
        "http",
        "money ids clock secret sealed_box config telemetry event order refund trade wechat store bus intake \
         batcher retry failpoint new_order new_refund webhooks ops reconciliation",
    ),
    (
        "web",
        "money ids clock secret sealed_box config telemetry event order refund trade wechat store bus failpoint \
         new_order http",
    ),
    (
        "console",
        "money ids clock secret config telemetry event order refund reconciliation trade wechat store bus http ops",
    ),
    (
        "reference",
        "money secret::sha256_hex config event order refund reconciliation trade wechat::v2::unified_order store \
         new_refund webhooks ops http web",
    ),
    ("sandbox", "money ids clock secret trade wechat::v2"),
    ("init", "ids clock secret config sandbox failpoint"),
    // A client of the HTTP API as any other, but for the checks of an installation.
    ("ctl", "clock secret config::no_color config::process_env doctor"),
];

/// The composition root and the demo put everything together.
const MAY_USE_ALL: &[&str] = &["app", "demo", "lib"];

/// A path as it stands in the code, from its first name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Path {
    pub line: usize,
    pub names: Vec<String>,
    /// The name a `use` gives it here; `*` for all that is in it. None for a path in code.
    pub import: Option<String>,
    /// A `pub use` of any kind.
    pub exported: bool,
    /// The modules written in the file itself that the path stands in.
    pub inside: Vec<String>,
}

/// Every path of two names or more, and every `use`, with grouped imports taken apart.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut paths = Vec::new();
    let (mut at, mut depth, mut inside) = (0, 0_usize, Vec::<(String, usize)>::new());
    while at < tokens.len() {
        let before = paths.len();
        if tokens[at].ident() == Some("use") {
            let exported = at > 0 && (tokens[at - 1].ident() == Some("pub") || tokens[at - 1].is(')'));
            at = use_tree(tokens, at + 1, &[], &mut paths);
            paths[before..].iter_mut().for_each(|path| path.exported = exported);
        } else if tokens[at].ident().is_some() && !continues(tokens, at) {
            if tokens[at].ident() == Some("mod") && tokens.get(at + 2).is_some_and(|t| t.is('{')) {
                inside.extend(tokens[at + 1].ident().map(|name| (name.to_owned(), depth)));
            }
            let start = at;
            let mut names = vec![tokens[at].ident().unwrap_or_default().to_owned()];
            while separator(tokens, at + 1)
                && let Some(name) = tokens.get(at + 3).and_then(Token::ident)
            {
                names.push(name.to_owned());
                at += 3;
            }
            if names.len() > 1 {
                paths.push(Path { line: tokens[start].line, names, ..Path::default() });
            }
            at += 1;
        } else {
            depth += usize::from(tokens[at].is('{'));
            depth = depth.saturating_sub(usize::from(tokens[at].is('}')));
            inside.pop_if(|(_, outer)| tokens[at].is('}') && *outer == depth);
            at += 1;
        }
        paths[before..].iter_mut().for_each(|path| path.inside = inside.iter().map(|(name, _)| name.clone()).collect());
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
    let mut import = None;
    let line = tokens.get(at).map_or(0, |t| t.line);
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Ident(name) if name == "as" => {
                import = tokens.get(at + 1).and_then(Token::ident).map(str::to_owned);
                at += 2;
            }
            Kind::Ident(name) => {
                // `a::{self}` names `a`.
                if name != "self" || names.is_empty() {
                    names.push(name.clone());
                }
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
            Kind::Punct('*') => {
                import = Some("*".to_owned());
                at += 1;
            }
            Kind::Punct(':') => at += 1,
            Kind::Punct(_) | Kind::Str(_) => break,
        }
    }
    // `impl Trait + use<'a>` is the other `use`, and names nothing.
    if let Some(last) = names.last() {
        let import = import.or_else(|| Some(last.clone()));
        paths.push(Path { line, names, import, ..Path::default() });
    }
    at
}

/// An import of another layer: who imports, by its line in the table, and what.
struct Crossing<'a> {
    source: &'a Source,
    line: usize,
    layer: usize,
    target: Vec<String>,
}

/// Imports that the table does not allow, and modules that have no line in it.
pub fn check(sources: &[Source]) -> Vec<String> {
    let mut violations: Vec<String> = program(sources)
        .filter(|(_, own)| own.first().is_some_and(|top| !MAY_USE_ALL.contains(&top.as_str())) && layer(own).is_none())
        .map(|(source, own)| source.violation(1, format!("{} has no line in MAY_USE: say what it may import", own[0])))
        .collect();
    for Crossing { source, line, layer, target } in crossings(sources) {
        let (name, allowed) = MAY_USE[layer];
        if !allowed.split_whitespace().any(|rule| begins_with(&target, rule)) {
            violations.push(source.violation(line, format!("{name} may not use {}", target.join("::"))));
        }
    }
    violations
}

/// Imports of a layer above, each file's once for each layer.
pub fn upward(sources: &[Source]) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for Crossing { source, line, layer: own, target } in crossings(sources) {
        if let Some(above) = layer(&target)
            && above > own
            && seen.insert((&source.path, above))
        {
            let text = format!("{} imports {}, which is above it", MAY_USE[own].0, target.join("::"));
            findings.push(Finding::new("upward", source, line, text));
        }
    }
    findings
}

fn crossings(sources: &[Source]) -> Vec<Crossing<'_>> {
    let modules: BTreeSet<String> = program(sources).filter_map(|(_, own)| own.into_iter().next()).collect();
    let mut crossings = Vec::new();
    for (source, own) in program(sources) {
        let Some(layer) = layer(&own) else { continue };
        for path in paths(&tokens(&source.text)) {
            let Some(target) = resolve(&[&own[..], &path.inside].concat(), &path.names) else { continue };
            let another = target.first().is_some_and(|top| modules.contains(top));
            if another && !begins_with(&target, MAY_USE[layer].0) {
                crossings.push(Crossing { source, line: path.line, layer, target });
            }
        }
    }
    crossings
}

fn program(sources: &[Source]) -> impl Iterator<Item = (&Source, Vec<String>)> {
    sources.iter().filter(|s| s.is_in("src") && s.is_rust()).map(|s| (s, module(&s.path)))
}

/// The line of the table that fits a path best.
fn layer(target: &[String]) -> Option<usize> {
    (0..MAY_USE.len()).filter(|i| begins_with(target, MAY_USE[*i].0)).max_by_key(|i| MAY_USE[*i].0.len())
}

fn begins_with(target: &[String], beginning: &str) -> bool {
    let mut names = target.iter();
    beginning.split("::").all(|expected| names.next().is_some_and(|name| name == expected))
}

/// Lines of the table that name what does not exist.
pub fn forgotten(sources: &[Source]) -> Vec<String> {
    let rooms: BTreeSet<String> = program(sources).map(|(_, own)| own.join("::")).collect();
    let exists = |path: &str| {
        let (above, name) = path.rsplit_once("::").unwrap_or(("", path));
        let item = || {
            let mut inside = program(sources).filter(|(_, own)| !above.is_empty() && begins_with(own, above));
            inside.any(|(source, _)| tokens(&source.text).iter().any(|t| t.ident() == Some(name)))
        };
        rooms.contains(path) || rooms.iter().any(|room| room.starts_with(&format!("{path}::"))) || item()
    };
    let named = MAY_USE.iter().flat_map(|(name, allowed)| allowed.split_whitespace().chain([*name]));
    let names: BTreeSet<&str> = named.chain(MAY_USE_ALL.iter().copied().filter(|name| *name != "lib")).collect();
    names
        .into_iter()
        .filter(|name| !exists(name))
        .map(|name| format!("MAY_USE: there is no {name}: forget it"))
        .collect()
}

/// `a/b.rs` and `a/b/mod.rs` in `src` are `[a, b]`; `src/lib.rs` is the crate itself.
pub fn module(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// A path from the crate's root, if it leads there.
pub fn resolve(own: &[String], names: &[String]) -> Option<Vec<String>> {
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

#[test]
fn an_import_of_a_layer_above_is_found_once_for_each_layer() {
    let sources = ["order", "config"].map(|name| Source::new(&format!("src/{name}.rs"), "//! x\n"));
    let code = "use crate::order::TradeType;\nfn f() -> crate::order::Policy { crate::config::load() }\n";
    let event = Source::new("src/event/fact.rs", &format!("use crate::event::json;\n{code}"));
    let found = upward(&[event, sources[0].clone(), sources[1].clone()]);
    let texts: Vec<(usize, &str)> = found.iter().map(|f| (f.line, f.text.as_str())).collect();
    assert_eq!(
        texts,
        [
            (2, "event imports order::TradeType, which is above it"),
            (3, "event imports config::load, which is above it"),
        ]
    );
    let config = Source::new("src/config.rs", "use crate::order::Policy;");
    assert_eq!(upward(&[config, sources[0].clone()]), []);
}

#[test]
fn a_line_for_what_does_not_exist_is_found() {
    let all = super::source::repository();
    let without = |path: &str| {
        let left: Vec<Source> = all.iter().filter(|s| !s.is_in(path)).cloned().collect();
        forgotten(&left)
    };
    assert_eq!(without("docs"), [] as [String; 0]);
    assert_eq!(without("src/money.rs"), ["MAY_USE: there is no money: forget it"]);
    let gone = without("src/order");
    assert!(gone.contains(&"MAY_USE: there is no order: forget it".to_owned()), "{gone:?}");
}
