//! `/_sandbox/`: the control API as a page, with the newest orders. No script, nothing loaded from anywhere.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::sandbox::cashier::{escape, yuan};
use crate::sandbox::state::SandboxState;

/// How many orders the page shows.
const ORDERS: usize = 20;

/// Methods and path, an example of a body, what it does.
type Entry = (&'static str, &'static str, &'static str);

const PAYER: &[Entry] = &[
    (
        "POST /_sandbox/pay",
        r#"{"out_trade_no": "A100001"}"#,
        "The payer confirms. Or by prepay_id, code_url; openid, coupon_fee, late, total_fee, fee_type, paid_at.",
    ),
    ("POST /_sandbox/cancel", r#"{"out_trade_no": "A100001"}"#, "The payer leaves the payment sheet."),
    ("GET /_sandbox/cashier?out_trade_no=A100001", "", "The payer's page, in a browser."),
    ("POST /_sandbox/notify", r#"{"out_trade_no": "A100001"}"#, "The notification once more; out_refund_no, fault."),
];
const TRUTH: &[Entry] = &[
    ("GET /_sandbox/ledger", "", "What WeChat knows: orders, payments, refunds, deliveries. ?out_trade_no=, ?mch_id="),
    ("GET /_sandbox/requests", "", "Which calls arrived, and which were refused before they counted."),
];
const FAULTS: &[Entry] = &[
    (
        "POST /_sandbox/faults",
        r#"[{"on": "notify", "kind": "drop", "times": 1}]"#,
        "What goes wrong from now on: on a call (unifiedorder, orderquery, refund, notify, …) this kind of fault.",
    ),
    ("GET /_sandbox/faults", "", "The rules in force."),
    ("DELETE /_sandbox/faults", "", "All goes well again."),
];
const MERCHANT: &[Entry] = &[
    ("POST /_sandbox/refunds/outcome", r#"{"out_trade_no": "A100001", "outcome": "CHANGE"}"#, "How a refund ends."),
    (
        "POST /_sandbox/refunds/console",
        r#"{"out_trade_no": "A100001", "refund_fee": 30}"#,
        "A refund by hand in the merchant platform.",
    ),
    ("POST /_sandbox/merchant", r#"{"balance": 100000}"#, "The account's balance; refund_notify_url."),
    ("GET /_sandbox/certificates/10000100", "", "The merchant's certificate and key, the authority, refund_base_url."),
    (
        "POST /_sandbox/bills/differences",
        r#"{"differences": [{"kind": "fee", "number": "A100001"}]}"#,
        "What is wrong with the bills to come.",
    ),
    ("GET /_sandbox/bills/differences", "", "What was planted."),
    ("DELETE /_sandbox/bills/differences", "", "Bills agree with the ledger again."),
    ("POST /_sandbox/bills/form", r#"{"form": {"legacy": true}}"#, "In which of WeChat's layouts bills are written."),
];
const PLATFORM: &[Entry] = &[
    ("GET /_sandbox/platform/users", "", "The test users and their openids."),
    ("POST /_sandbox/platform/user", r#"{"user": 1}"#, "Who sits at the browser; openid, nickname, snapshot, risky."),
    ("POST /_sandbox/platform/mini_code", "{}", "wx.login on a phone: a code of a mini program."),
    ("POST /_sandbox/platform/phone_code", r#"{"phone": "13800000000"}"#, "The phone-number button: a code."),
    ("GET /_sandbox/platform/avatar/0", "", "A test user's picture."),
    ("GET /_sandbox/platform/calls", "", "Who called the platform API, how often."),
    ("DELETE /_sandbox/platform/calls", "", "Counts from zero."),
    ("POST /_sandbox/platform/kill_tokens", r#"{"appid": "wxd930ea5d5a258f4f"}"#, "Ends access_tokens and tickets."),
    ("POST /_sandbox/platform/check", r#"{"value": "a token"}"#, "Whether a token or ticket works, without using it."),
    (
        "POST /_sandbox/platform/whitelist",
        r#"{"appid": "wxd930ea5d5a258f4f", "ips": null}"#,
        "From where an app's calls may come.",
    ),
    ("POST /_sandbox/platform/quota", r#"{"api": "token", "per_day": 200}"#, "Another limit than the published one."),
];
const BROWSER: &[Entry] = &[
    ("GET /_sandbox/jweixin.js", "", "The JS-SDK of WeChat's browser, for pages in any browser."),
    (
        "POST /_sandbox/bridge/request_payment",
        r#"{"appid": "wxd930ea5d5a258f4f", "params": {}}"#,
        "wx.requestPayment of a mini program.",
    ),
    ("POST /_sandbox/bridge/behaviour", r#"{"next": "cancel"}"#, "How a page's next payment goes: lie_ok, cancel, …"),
    ("POST /_sandbox/bridge/config", "", "The script's own: wx.config."),
    ("POST /_sandbox/bridge/pay", "", "The script's own: the payment sheet opens."),
    ("POST /_sandbox/bridge/act", "", "The script's own: the payer decides."),
];

const SECTIONS: &[(&str, &[Entry])] = &[
    ("The payer", PAYER),
    ("The truth", TRUTH),
    ("Faults", FAULTS),
    ("The merchant platform", MERCHANT),
    ("The platform and its users", PLATFORM),
    ("WeChat's browser", BROWSER),
];

pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new().route("/_sandbox/", get(show)).route("/_sandbox", get(show))
}

async fn show(State(sandbox): State<Arc<SandboxState>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, document(&orders(&sandbox))).into_response()
}

/// The newest ones, each with a link to its payer's page.
fn orders(sandbox: &SandboxState) -> String {
    let (book, now) = (sandbox.book(), sandbox.now());
    let mut rows = String::new();
    for order in book.orders().iter().rev().take(ORDERS) {
        let terms = &order.terms;
        // Both numbers are of letters, digits and signs that an address may hold.
        let (mch_id, number) = (escape(terms.mch_id.as_str()), escape(terms.out_trade_no.as_str()));
        let _ = write!(
            rows,
            "<tr><td><a href=\"/_sandbox/cashier?mch_id={mch_id}&amp;out_trade_no={number}\">{number}</a></td>\
             <td>{mch_id}</td><td>{}</td><td>¥{}</td><td>{}</td></tr>",
            terms.trade_type.as_str(),
            yuan(terms.total_fee),
            order.state(now).as_str(),
        );
    }
    if rows.is_empty() { "<tr><td colspan=\"5\">none yet</td></tr>".to_owned() } else { rows }
}

fn document(orders: &str) -> String {
    let mut sections = String::new();
    for (title, entries) in SECTIONS {
        let _ = write!(sections, "<h2>{title}</h2><table>");
        for (call, body, does) in *entries {
            let (call, body, does) = (escape(call), escape(body), escape(does));
            let row = format!("<tr><td><code>{call}</code></td><td><code>{body}</code></td><td>{does}</td></tr>");
            sections.push_str(&row);
        }
        sections.push_str("</table>");
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>wxpay-sandbox</title><style>{STYLE}</style></head><body><main><h1>wxpay-sandbox</h1>\
         <p>A simulator of WeChat Pay: no account, no money. Bodies are JSON, \
         as in <code>curl -d '{{\"out_trade_no\": \"A100001\"}}' …/_sandbox/pay</code>; with several merchants they \
         take an <code>mch_id</code>.</p>\
         <h2>The newest orders</h2><table>{orders}</table>{sections}</main></body></html>\n"
    )
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{margin:0;font:16px/1.5 system-ui,sans-serif}\
main{max-width:72rem;margin:0 auto;padding:1rem}h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
table{border-collapse:collapse;width:100%}td{padding:.35rem .75rem .35rem 0;vertical-align:top;\
border-top:1px solid #8884;overflow-wrap:anywhere}code{font-size:.85rem}\
@media(max-width:40rem){tr{display:block;border-top:1px solid #8884;padding:.4rem 0}\
td{display:block;border:0;padding:0}}";
