//! The members of the document are those of the code: of the types that answers are made of, of the queries and of the
//! bodies that are read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use wxpay_worker::reference::openapi_document;

use super::document::routes;
use super::support::{described, file};

/// Schema, file and type of each answer that is derived; and members that are added to it by hand.
const TYPES: &[(&str, &str, &str, &[&str])] = &[
    ("Order", "src/http/orders/view.rs", "OrderJson", &[]),
    ("Attempt", "src/http/orders/view.rs", "AttemptJson", &[]),
    ("Refund", "src/http/refunds/view.rs", "RefundJson", &[]),
    ("Payment", "src/http/payments/view.rs", "PaymentJson", &[]),
    ("Erasure", "src/http/payers/erasures.rs", "ErasureJson", &[]),
    ("PaymentEntry", "src/http/payments/view.rs", "EntryJson", &[]),
    ("Timeline", "src/ops/history/entry.rs", "Timeline", &[]),
    ("EventPage", "src/http/events/list.rs", "Page", &[]),
    ("LedgerRow", "src/http/books/ledger.rs", "RowJson", &[]),
    ("Balance", "src/http/books/balances.rs", "BalanceJson", &[]),
    ("BalanceSum", "src/http/books/balances.rs", "SumJson", &[]),
    ("ReportDay", "src/ops/reports/days.rs", "DayRow", &["merchant"]),
    ("CurrencyDay", "src/ops/reports/days.rs", "CurrencyDay", &[]),
    ("PeriodFigures", "src/ops/reports/periods.rs", "Figures", &[]),
    ("CurrencySums", "src/ops/reports/periods.rs", "CurrencySums", &[]),
    ("Adjustment", "src/ops/reports/periods.rs", "Adjustment", &[]),
    ("Reconciliation", "src/http/reconciliations/view.rs", "DayJson", &[]),
    ("BillFigures", "src/http/reconciliations/view.rs", "BillJson", &[]),
    ("LedgerFigures", "src/http/reconciliations/view.rs", "LedgerJson", &[]),
    ("CurrencyFigures", "src/http/reconciliations/view.rs", "CurrencyJson", &[]),
    ("Repair", "src/http/reconciliations/view.rs", "RepairJson", &[]),
    ("Line", "src/http/reconciliations/view.rs", "LineJson", &[]),
    ("BillSide", "src/http/reconciliations/view.rs", "BillSideJson", &[]),
    ("LedgerSide", "src/http/reconciliations/view.rs", "LedgerSideJson", &[]),
    ("PlanItem", "src/http/reconciliations/view.rs", "PlanJson", &[]),
    ("RepairResult", "src/http/reconciliations/view.rs", "OutcomeJson", &[]),
    ("Loops", "src/reconciliation/figures.rs", "Loops", &[]),
    ("TradesLoop", "src/reconciliation/figures.rs", "TradesLoop", &[]),
    ("FundsLoop", "src/reconciliation/figures.rs", "FundsLoop", &[]),
    (
        "Notification",
        "src/http/ops/notifications.rs",
        "NotificationJson",
        &["headers", "body", "body_bytes", "body_sha256", "is_sample", "changes"],
    ),
    ("DeadLetter", "src/http/ops/dead_letters.rs", "DeadLetterJson", &["attempt_list", "message", "message_bytes"]),
    ("DeadLetterGroup", "src/http/ops/dead_letters.rs", "GroupJson", &[]),
    ("DeadLetterAttempt", "src/http/ops/dead_letters.rs", "AttemptJson", &[]),
    ("AuditEntry", "src/http/ops/audit.rs", "AuditJson", &[]),
    ("Jobs", "src/http/ops/jobs.rs", "Jobs", &[]),
    ("Job", "src/http/ops/jobs.rs", "JobJson", &[]),
    ("Lease", "src/http/ops/jobs.rs", "LeaseJson", &[]),
    ("JobReport", "src/http/ops/jobs.rs", "ReportJson", &[]),
    ("Readiness", "src/http/health/readiness.rs", "Readiness", &[]),
    ("Check", "src/http/health/readiness.rs", "Check", &[]),
];

fn properties(document: &Value, schema: &str) -> BTreeSet<String> {
    let schema = &document["components"]["schemas"][schema];
    schema["properties"].as_object().unwrap_or_else(|| panic!("{schema}")).keys().cloned().collect()
}

/// The fields of a struct.
fn fields(path: &str, name: &str) -> BTreeSet<String> {
    let text = file(path);
    let starts = [format!("struct {name} {{"), format!("struct {name}<'a> {{")];
    let at = starts.iter().find_map(|start| text.find(start.as_str())).unwrap_or_else(|| panic!("{path}: {name}"));
    let body = text[at..].split_once('{').unwrap().1.split_once("\n}").unwrap().0;
    let fields = body.lines().map(str::trim).filter(|line| !line.starts_with(['/', '#']) && !line.is_empty());
    fields
        .map(|line| {
            let line = ["pub(super) ", "pub "].iter().fold(line, |line, start| line.trim_start_matches(start));
            line.split_once(':').unwrap().0.to_owned()
        })
        .collect()
}

#[test]
fn answers_that_are_derived_have_the_members_of_their_types() {
    let document = openapi_document();
    for (schema, path, name, more) in TYPES {
        let mut members = fields(path, name);
        members.extend(more.iter().map(|member| (*member).to_owned()));
        assert_eq!(properties(&document, schema), members, "{schema} and {name} of {path}");
    }
}

/// The parameters of each type of queries.
fn query_names() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut files);
    let mut types = BTreeMap::new();
    for text in files {
        for found in text.split("impl QueryParams for ").skip(1) {
            let (name, rest) = found.split_once(" {").unwrap();
            let list = rest.split_once("NAMES: &'static [&'static str] =").unwrap().1.split_once(';').unwrap().0;
            let names = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
            assert!(types.insert(name.to_owned(), names).is_none(), "{name} is two types");
        }
    }
    types
}

fn walk(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() { walk(&path, files) } else { files.push(std::fs::read_to_string(path).unwrap()) }
    }
}

#[test]
fn the_parameters_of_a_query_are_those_that_are_read() {
    let (document, routes, types) = (openapi_document(), routes(), query_names());
    let mut compared = 0;
    for of in described(&document).iter().filter(|of| of.path.starts_with("/v1/")) {
        let handler = &routes[&(of.method.to_owned(), of.path.to_owned())];
        let (module, function) = handler.rsplit_once("::").unwrap();
        let text = file(&format!("src/http/{}.rs", module.replace("::", "/")));
        let signature = text.split(&format!("pub async fn {function}(")).nth(1).unwrap().split(" {\n").next().unwrap();
        let read = signature.rsplit_once("StrictQuery<").map(|(_, rest)| rest.split('>').next().unwrap());
        let read = read.map(|name| types[name].clone()).unwrap_or_default();
        let parameters = of.operation["parameters"].as_array().unwrap().iter();
        let described: BTreeSet<String> = parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(described, read, "{} {}", of.method, of.path);
        compared += read.len();
    }
    assert!(compared > 100, "{compared}");
}

/// The schema of each body, the file that reads it, and where in it that begins and ends.
const BODIES: &[(&str, &str, &str, &str)] = &[
    ("OrderRequest", "src/http/orders/request.rs", "pub fn parse", ""),
    ("AttemptRequest", "src/http/orders/attempt_request.rs", "pub fn parse", "pub fn switch"),
    ("AcceptRequest", "src/http/orders/accept.rs", "fn parse", ""),
    ("RefundRequest", "src/http/refunds/request.rs", "pub fn parse", ""),
    ("ReconciliationRequest", "src/http/reconciliations/request.rs", "pub fn run", "pub fn note"),
    ("NoteRequest", "src/http/reconciliations/request.rs", "pub fn note", "pub fn reason"),
    ("DayNoteRequest", "src/http/reconciliations/request.rs", "pub fn note", "pub fn reason"),
    ("StopRequest", "src/http/reconciliations/request.rs", "pub fn reason", "fn text"),
    ("RepairRequest", "src/http/reconciliations/request.rs", "pub fn repair", ""),
    ("WebhookRequest", "src/http/webhooks/request.rs", "pub fn parse_new", "pub fn parse_change"),
    ("WebhookChange", "src/http/webhooks/request.rs", "pub fn parse_change", "pub fn parse_reason"),
    ("OptionalReasonRequest", "src/http/webhooks/request.rs", "pub fn parse_reason", "fn description"),
    ("ReasonRequest", "src/http/ops/query.rs", "pub fn reason_of_body", ""),
    ("ReplayRequest", "src/http/ops/replay_request.rs", "pub fn parse", "pub fn cap"),
    ("ReplaySelect", "src/http/ops/replay_request.rs", "fn select", ""),
    ("KeyRequest", "src/http/ops/key_request.rs", "pub fn parse", ""),
    ("EndSessionsRequest", "src/http/payers/request.rs", "pub fn parse", ""),
    ("ErasureRequest", "src/http/payers/request.rs", "pub fn parse", ""),
    ("CodeRequest", "src/web/mini/login.rs", "pub async fn code", "pub fn refusal"),
];

/// Members that are read by a function whose name says which.
const BY_NAME: &[(&str, &str)] = &[
    ("trade_type(&mut form", "trade_type"),
    ("trade_type)", "trade_type"),
    ("scene_info(&mut form", "scene_info"),
    ("event_types(&mut form", "events"),
    ("description(&mut form", "description"),
    ("rate(&mut form", "rate_per_second"),
];

/// The names that a text takes out of a form.
fn taken(text: &str) -> BTreeSet<String> {
    let text: String = text.split_whitespace().collect();
    let reads = ["text", "parsed", "raw", "object", "amount"].map(|read| format!(".{read}(\""));
    let starts = reads.iter().map(String::as_str).chain(["form,\"", "text(body,\""]);
    let literal = starts.flat_map(|start| {
        text.match_indices(start).map(|(at, _)| text[at + start.len()..].split('"').next().unwrap().to_owned())
    });
    let mut names: BTreeSet<String> = literal.collect();
    let spaceless = |call: &str| call.split_whitespace().collect::<String>();
    names
        .extend(BY_NAME.iter().filter(|(call, _)| text.contains(&spaceless(call))).map(|(_, name)| (*name).to_owned()));
    names
}

#[test]
fn the_members_of_a_body_are_those_that_are_read() {
    let document = openapi_document();
    let bodies = document["components"]["schemas"].as_object().unwrap().iter();
    let requests: BTreeSet<&str> =
        bodies.filter(|(_, schema)| schema["additionalProperties"] == false).map(|(name, _)| name.as_str()).collect();
    assert_eq!(requests, BODIES.iter().map(|(schema, ..)| *schema).collect());
    for (schema, path, from, to) in BODIES {
        let text = file(path);
        let begin = text.find(from).unwrap_or_else(|| panic!("{path}: {from}"));
        let end = text[begin..].find(to).filter(|at| *at > 0).map_or(text.len(), |at| begin + at);
        assert_eq!(properties(&document, schema), taken(&text[begin..end]), "{schema} and {path}");
    }
}
