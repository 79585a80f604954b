//! Every route under `/v1` begins with the authorising extractor.

use super::source::{Kind, Source, Token, tokens};

const TABLE: &str = "src/http/routes.rs";

/// Handlers that check credentials by themselves: an order's own token opens its stream, too.
const OWN_CHECK: &[&str] = &["orders::stream::stream"];

/// Handlers of the business API that can be reached without an [`Authorized`] argument.
///
/// [`Authorized`]: wxpay_worker::http
pub fn check(sources: &[Source]) -> Vec<String> {
    let Some(table) = sources.iter().find(|s| s.path == TABLE) else { return Vec::new() };
    let mut violations = Vec::new();
    for (path, name) in handlers(&tokens(&table.text)) {
        if !path.starts_with("/v1/") || OWN_CHECK.contains(&name.as_str()) {
            continue;
        }
        let (module, function) = name.rsplit_once("::").unwrap_or(("", &name));
        let file = format!("src/http/{}.rs", module.replace("::", "/"));
        let source = sources.iter().find(|s| s.path == file);
        match source.and_then(|s| signature(&tokens(&s.text), function).map(|arguments| (s, arguments))) {
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

/// Path and handler of each `.route("path", method(module::function))`.
fn handlers(tokens: &[Token]) -> Vec<(String, String)> {
    let mut handlers = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if token.ident() != Some("route") {
            continue;
        }
        let Some(Kind::Str(path)) = tokens.get(i + 2).map(|t| &t.kind) else { continue };
        let call = tokens[i + 3..].iter().take_while(|t| !t.is(')'));
        let names: Vec<&str> = call.filter_map(Token::ident).collect();
        let [_, handler @ ..] = &names[..] else { continue };
        handlers.push((path.clone(), handler.join("::")));
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
    let table = Source::new(
        TABLE,
        "fn r() { R::new().route(\"/v1/orders\", post(orders::create::place)).route(\"/x\", get(h::x)) }",
    );
    let handler = |folder: &str, arguments: &str| {
        let text = format!("//! x\npub async fn place({arguments}) -> R {{}}\n");
        Source::new(&format!("src/http/{folder}/create.rs"), &text)
    };
    // A file of the same name in another folder is another handler's.
    let other = handler("refunds", "State(app): S, caller: Authorized<Orders>, request: Request");
    let check = |arguments: &str| super::routes::check(&[table.clone(), other.clone(), handler("orders", arguments)]);
    assert_eq!(check("State(app): S, caller: Authorized<Orders>, request: Request"), [] as [String; 0]);
    let bare = check("State(app): S, request: Request");
    assert_eq!(bare, ["src/http/orders/create.rs:1: place serves /v1/orders and takes no Authorized caller"]);
    assert_eq!(
        super::routes::check(std::slice::from_ref(&table)),
        ["src/http/routes.rs: /v1/orders: no file of src/http has orders::create::place"]
    );
}

#[test]
fn the_table_of_routes_is_read() {
    let all = super::source::repository();
    let table = all.iter().find(|s| s.path == TABLE).unwrap();
    let found = handlers(&tokens(&table.text));
    assert!(found.iter().filter(|(path, ..)| path.starts_with("/v1/")).count() >= 10, "{found:?}");
}
