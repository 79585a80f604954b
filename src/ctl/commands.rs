//! The commands that read, and those that change one row.

use serde_json::{Value, json};

use super::args::{Command, DeadLettersCommand, EventsCommand, NotificationsCommand, OrdersCommand};
use super::args_page::Page;
use super::client::{Api, part};
use super::exit::{Exit, Failure};
use super::output::{Column, Printer};

const ORDERS: &[Column] = &[
    ("CREATED", "/created_at"),
    ("ORDER", "/order_no"),
    ("MERCHANT", "/merchant"),
    ("STATE", "/state"),
    ("AMOUNT", "/amount_fen"),
    ("REFUNDED", "/refunded_fen"),
    ("FLAGS", "/flags"),
    ("DESCRIPTION", "/description"),
];
const ORDER: &[Column] = &[
    ("order", "/order_no"),
    ("merchant", "/merchant"),
    ("app", "/app"),
    ("state", "/state"),
    ("credited", "/credited"),
    ("flags", "/flags"),
    ("amount", "/amount_fen"),
    ("refunded", "/refunded_fen"),
    ("description", "/description"),
    ("transaction", "/transaction_id"),
    ("created", "/created_at"),
    ("expires", "/expires_at"),
    ("paid", "/paid_at"),
    ("WeChat says", "/wechat/err_code_des"),
];
const REVOKED: &[Column] = &[("order", "/order_no"), ("merchant", "/merchant"), ("revoked", "/revoked_at")];
const TIMELINE: &[Column] = &[("AT", "/at"), ("WHAT", "/kind"), ("", "/said")];
const NOTIFICATIONS: &[Column] = &[
    ("RECEIVED", "/received_at"),
    ("ID", "/id"),
    ("MERCHANT", "/merchant"),
    ("KIND", "/kind"),
    ("VERDICT", "/verdict"),
    ("REASON", "/reason"),
    ("ORDER", "/order_no"),
];
const GROUPS: &[Column] = &[
    ("COUNT", "/count"),
    ("REASON", "/reason"),
    ("CONSUMER", "/consumer"),
    ("FIRST", "/first"),
    ("LAST", "/last"),
    ("MEANS", "/means"),
    ("MEND", "/mend"),
];
const DEAD_LETTERS: &[Column] = &[
    ("PARKED", "/parked_at"),
    ("ID", "/id"),
    ("REASON", "/reason"),
    ("CONSUMER", "/consumer"),
    ("MERCHANT", "/merchant"),
    ("ORDER", "/order_no"),
    ("STATE", "/state"),
    ("ERROR", "/last_error"),
];
const JOBS: &[Column] = &[
    ("JOB", "/name"),
    ("NEXT", "/next_due"),
    ("LAST", "/last/started_at"),
    ("OUTCOME", "/last/outcome"),
    ("DONE", "/last/done"),
    ("DETAIL", "/last/detail"),
    ("LEASE", "/lease/holder"),
];
const AUDIT: &[Column] = &[
    ("AT", "/at"),
    ("ACTOR", "/actor"),
    ("ACTION", "/action"),
    ("ORDER", "/order_no"),
    ("SUBJECT", "/subject"),
    ("RESULT", "/result"),
    ("REASON", "/reason"),
];
const EVENTS: &[Column] = &[("", "/time"), ("", "/type"), ("", "/subject"), ("", "/data/amount_fen"), ("", "/id")];
const CHECKS: &[Column] = &[("CHECK", "/name"), ("OK", "/ok"), ("REASON", "/reason")];

/// A list of the API.
struct List {
    path: &'static str,
    /// Where its rows are.
    rows: &'static str,
    columns: &'static [Column],
    none: &'static str,
}

/// How long one request for events waits, in seconds.
const FEED_WAIT: &str = "30";

pub async fn run(api: &Api, command: Command, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        Command::Orders { command } => orders(api, command, out).await,
        Command::Why { order_no, merchant } => why(api, &order_no, merchant, out).await,
        Command::Notifications { command } => notifications(api, command, out).await,
        Command::DeadLetters { command } => dead_letters(api, command, out).await,
        Command::Events { command: EventsCommand::Tail { types, after, no_follow } } => {
            tail(api, types, after, !no_follow, out).await
        }
        Command::Jobs => {
            let jobs = api.get("/v1/ops/jobs", &[]).await?;
            rows(&jobs, "jobs", JOBS, "no job has run yet", out)
        }
        Command::Audit { page } => {
            let audit = List { path: "/v1/ops/audit", rows: "audit", columns: AUDIT, none: "nothing was done" };
            list(api, &audit, &[], page, out).await
        }
        Command::Health
        | Command::Approvals { .. }
        | Command::Payers { .. }
        | Command::Keys { .. }
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Replay { .. }
        | Command::Trigger(_)
        | Command::Bus { .. }
        | Command::Ledger { .. }
        | Command::Balances { .. }
        | Command::Webhooks { .. }
        | Command::Reconcile { .. }
        | Command::Periods { .. }
        | Command::Doctor { .. } => Ok(Exit::Usage),
    }
}

/// What the service says of itself; its exit code is for scripts that wait for it.
pub async fn health(api: &Api, out: &mut Printer) -> Result<Exit, Failure> {
    let (status, readiness) = api.try_get("/readyz", &[]).await?;
    if readiness["ready"].as_bool().is_none() {
        let hint = "is --url the service's? With server.admin_listen it is that address";
        return Err(Failure::new(Exit::Down, format!("/readyz answered {status}: {hint}")));
    }
    if out.is_json() {
        out.json(&readiness)?;
    } else {
        rows(&readiness, "checks", CHECKS, "nothing is checked", out)?;
        out.note(if readiness["ready"] == true { "ready" } else { "not ready" });
    }
    Ok(if readiness["ready"] == true { Exit::Ok } else { Exit::Down })
}

async fn orders(api: &Api, command: OrdersCommand, out: &mut Printer) -> Result<Exit, Failure> {
    match command {
        OrdersCommand::List { search, state, flag, merchant, page } => {
            let orders = List { path: "/v1/orders", rows: "orders", columns: ORDERS, none: "no such orders" };
            list(api, &orders, &[("q", search), ("state", state), ("flag", flag), ("merchant", merchant)], page, out)
                .await
        }
        OrdersCommand::Show { order_no, merchant, refresh } => {
            let parameters = [("merchant", merchant), ("refresh", refresh.then(|| "1".to_owned()))];
            let order = api.get(&format!("/v1/orders/{}", part(&order_no)), &parameters).await?;
            if out.is_json() {
                out.json(&order)?;
            } else {
                out.record(&order, ORDER)?;
                out.note(&format!("\nwhy it is so: wxpayctl why {order_no}"));
            }
            Ok(Exit::Ok)
        }
        OrdersCommand::RevokeToken { order_no, merchant, reason } => {
            revoke_token(api, (&order_no, merchant), reason, out).await
        }
    }
}

async fn revoke_token(
    api: &Api,
    (order_no, merchant): (&str, Option<String>),
    reason: String,
    out: &mut Printer,
) -> Result<Exit, Failure> {
    let mut path = format!("/v1/orders/{}/revoke-token", part(order_no));
    if let Some(merchant) = merchant {
        path = format!("{path}?merchant={}", part(&merchant));
    }
    let revoked = api.post(&path, &json!({"reason": reason})).await?;
    if out.is_json() {
        out.json(&revoked)?;
    } else {
        out.record(&revoked, REVOKED)?;
    }
    Ok(Exit::Ok)
}

async fn why(api: &Api, order_no: &str, merchant: Option<String>, out: &mut Printer) -> Result<Exit, Failure> {
    let path = format!("/v1/orders/{}/history", part(order_no));
    let mut history = api.get(&path, &[("merchant", merchant)]).await?;
    if !out.is_json() {
        for entry in history["entries"].as_array_mut().into_iter().flatten() {
            entry["said"] = said(entry).into();
        }
    }
    rows(&history, "entries", TIMELINE, "nothing is known of it", out)
}

/// What an entry of a timeline says besides its time and kind.
fn said(entry: &Value) -> String {
    let members = entry.as_object().into_iter().flatten();
    let others = members.filter(|(name, value)| !value.is_null() && *name != "at" && *name != "kind");
    let texts =
        others.map(|(name, value)| format!("{name} {}", value.as_str().map_or(value.to_string(), str::to_owned)));
    texts.collect::<Vec<_>>().join(", ")
}

async fn notifications(api: &Api, command: NotificationsCommand, out: &mut Printer) -> Result<Exit, Failure> {
    const PATH: &str = "/v1/ops/notifications";
    match command {
        NotificationsCommand::List { merchant, verdict, order_no, page } => {
            let all = List { path: PATH, rows: "notifications", columns: NOTIFICATIONS, none: "no such notifications" };
            let filter = [("merchant", merchant), ("verdict", verdict), ("order_no", order_no)];
            list(api, &all, &filter, page, out).await
        }
        NotificationsCommand::Show { id } => show(&api.get(&format!("{PATH}/{}", part(&id)), &[]).await?, out),
    }
}

async fn dead_letters(api: &Api, command: DeadLettersCommand, out: &mut Printer) -> Result<Exit, Failure> {
    const PATH: &str = "/v1/ops/dead-letters";
    match command {
        DeadLettersCommand::Groups => {
            let groups = api.get(&format!("{PATH}/groups"), &[]).await?;
            rows(&groups, "groups", GROUPS, "no dead letters", out)
        }
        DeadLettersCommand::List { state, reason, merchant, page } => {
            let all = List { path: PATH, rows: "dead_letters", columns: DEAD_LETTERS, none: "no such dead letters" };
            list(api, &all, &[("state", state), ("reason", reason), ("merchant", merchant)], page, out).await
        }
        DeadLettersCommand::Show { id } => show(&api.get(&format!("{PATH}/{}", part(&id)), &[]).await?, out),
        DeadLettersCommand::Discard { id, reason, yes } => {
            if !yes {
                return Err(Failure::new(Exit::Refused, "what is discarded is never handled: add --yes"));
            }
            show(&api.post(&format!("{PATH}/{}/discard", part(&id)), &json!({"reason": reason})).await?, out)
        }
    }
}

async fn tail(
    api: &Api,
    types: Option<String>,
    mut after: Option<String>,
    follow: bool,
    out: &mut Printer,
) -> Result<Exit, Failure> {
    loop {
        let wait = follow.then(|| FEED_WAIT.to_owned());
        let page = api.get("/v1/events", &[("after", after), ("types", types.clone()), ("wait", wait)]).await?;
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in events {
            if out.is_json() { out.json(event)? } else { out.row(event, EVENTS)? }
        }
        if events.is_empty() && !follow {
            return Ok(Exit::Ok);
        }
        after = page["next"].as_str().map(str::to_owned);
    }
}

async fn list(
    api: &Api,
    of: &List,
    filter: &[(&str, Option<String>)],
    page: Page,
    out: &mut Printer,
) -> Result<Exit, Failure> {
    let mut parameters = filter.to_vec();
    parameters.extend([("limit", page.limit.map(|limit| limit.to_string())), ("after", page.after)]);
    let answer = api.get(of.path, &parameters).await?;
    let exit = rows(&answer, of.rows, of.columns, of.none, out)?;
    if let Some(next) = answer["next"].as_str().filter(|_| !out.is_json()) {
        out.note(&format!("more: --after {next}"));
    }
    Ok(exit)
}

pub(super) fn rows(
    answer: &Value,
    name: &str,
    columns: &[Column],
    none: &str,
    out: &mut Printer,
) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(answer)?;
    } else {
        out.table(answer[name].as_array().map(Vec::as_slice).unwrap_or_default(), columns, none)?;
    }
    Ok(Exit::Ok)
}

/// A row of which everything is of interest.
pub(super) fn show(row: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(row)?;
    } else {
        let text = serde_json::to_string_pretty(row).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        out.line(&text)?;
    }
    Ok(Exit::Ok)
}
