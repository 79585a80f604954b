//! Every route under `/v1` begins with the authorising extractor.

use super::source::{Kind, Source, Token, tokens};

const TABLE: &str = "src/http/routes.rs";

/// Handlers that check credentials by themselves: an order's own token opens its stream, too.
const OWN_CHECK: &[&str] = &["stream::stream"];

/// Handlers of the business API that can be reached without an [`Authorized`] argument.
///
/// [`Authorized`]: wxpay_worker::http
pub fn check(sources: &[Source]) -> Vec<String> {
    let Some(table) = sources.iter().find(|s| s.path == TABLE) else { return Vec::new() };
    let mut violations = Vec::new();
    for (path, module, function) in handlers(&tokens(&table.text)) {
        let name = format!("{module}::{function}");
        if !path.starts_with("/v1/") || OWN_CHECK.contains(&name.as_str()) {
            continue;
        }
        let files: Vec<&Source> = sources
            .iter()
            .filter(|s| s.is_in("src/http") && s.path.ends_with(&format!("/{module}.rs")) && s.path != TABLE)
            .collect();
        let mut signatures =
            files.iter().filter_map(|s| signature(&tokens(&s.text), &function).map(|arguments| (s, arguments)));
        match signatures.next() {
            None => violations.push(format!("{TABLE}: {path}: no file of src/http has {name}")),
            Some((source, arguments)) if !arguments.contains(&"Authorized".to_owned()) => {
                violations
                    .push(source.violation(1, format!("{function} serves {path} and takes no Authorized caller")));
            }
            Some(_) => {}
        }
    }
    violations
}

/// Path, module and function of each `.route("path", method(module::function))`.
fn handlers(tokens: &[Token]) -> Vec<(String, String, String)> {
    let mut handlers = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if token.ident() != Some("route") {
            continue;
        }
        let Some(Kind::Str(path)) = tokens.get(i + 2).map(|t| &t.kind) else { continue };
        let call: Vec<&str> = tokens[i + 3..].iter().take(7).filter_map(Token::ident).collect();
        if let [_, module, function, ..] = call[..] {
            handlers.push((path.clone(), module.to_owned(), function.to_owned()));
        }
    }
    handlers
}

/// The names in the arguments of `pub async fn function(…)`.
fn signature(tokens: &[Token], function: &str) -> Option<Vec<String>> {
    let at = tokens.windows(2).position(|w| w[0].ident() == Some("fn") && w[1].ident() == Some(function))?;
    let arguments = tokens[at..].iter().take_while(|t| !t.is('{'));
    Some(arguments.filter_map(|t| t.ident().map(str::to_owned)).collect())
}

#[test]
fn a_route_without_the_extractor_is_found() {
    let table =
        Source::new(TABLE, "fn r() { R::new().route(\"/v1/orders\", post(create::place)).route(\"/x\", get(h::x)) }");
    let handler = |arguments: &str| {
        Source::new("src/http/orders/create.rs", &format!("//! x\npub async fn place({arguments}) -> R {{}}\n"))
    };
    let check = |arguments: &str| super::routes::check(&[table.clone(), handler(arguments)]);
    assert_eq!(check("State(app): S, caller: Authorized<Orders>, request: Request"), [] as [String; 0]);
    let bare = check("State(app): S, request: Request");
    assert_eq!(bare, ["src/http/orders/create.rs:1: place serves /v1/orders and takes no Authorized caller"]);
    assert_eq!(
        super::routes::check(std::slice::from_ref(&table)),
        ["src/http/routes.rs: /v1/orders: no file of src/http has create::place"]
    );
}

#[test]
fn the_table_of_routes_is_read() {
    let all = super::source::repository();
    let table = all.iter().find(|s| s.path == TABLE).unwrap();
    let found = handlers(&tokens(&table.text));
    assert!(found.iter().filter(|(path, ..)| path.starts_with("/v1/")).count() >= 10, "{found:?}");
}
