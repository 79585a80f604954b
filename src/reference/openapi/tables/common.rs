//! Parameters and schemas that many addresses share.

use crate::reference::openapi::field::{Field, Shape, number, objects, of, text, time};
use crate::reference::openapi::operation::{Object, object, request};

/// The longest reason, in bytes.
const REASON_MAX_BYTES: usize = 500;

/// The merchant, in a query.
pub const MERCHANT: Field =
    text("merchant", "The merchant's key. Required where the API key sees several merchants.", "main").optional();

/// The merchant whose rows alone are listed.
pub const OF_MERCHANT: Field =
    text("merchant", "Rows of this merchant alone. Left out: of all that the API key sees.", "main").optional();

pub const AFTER: Field = text("after", "Behind the page whose `next` this is.", "").optional();
pub const FROM: Field = time("from", "At this time or later.").optional();
pub const TO: Field = time("to", "Before this time.").optional();

/// Rows a page, in lists of operators.
pub const OPS_LIMIT: Field = number("limit", "Rows a page; 50 where it is left out.").within(1, 500).optional();

/// Rows a page, in lists of finance.
pub const LIMIT: Field = number("limit", "Rows a page; 100 where it is left out.").within(1, 1000).optional();

/// Where the next page begins.
pub const NEXT: Field = text("next", "Give it as `after` for the next page; null on the last one.", "cDEyMw").or_null();

/// Why it is done.
pub const REASON: Field =
    text("reason", "Why; stands in the audit. Text without control characters.", "The customer called")
        .bytes(REASON_MAX_BYTES);

pub const MERCHANT_KEY: Field = text("merchant", "The merchant's key.", "main");
pub const TRANSACTION_ID: Field =
    text("transaction_id", "WeChat's number of the payment.", "4200002134202611270000000001");
pub const OUT_TRADE_NO: Field = text("out_trade_no", "The attempt's number at WeChat.", "A100001");
pub const CURRENCY: Field = text("currency", "The currency, as WeChat names it.", "CNY");

/// The parameter `name` of a path.
pub fn path_field(path: &str, name: &'static str) -> Field {
    let numbered = ["/v1/ops/dead-letters", "/v1/ops/approvals", "/v1/ops/erasures"];
    let is_number = numbered.iter().any(|list| path.starts_with(list)) || path.contains("/lines/");
    match name {
        "order_no" => {
            text(name, "The business's own number of the order.", "A100001").within(1, 32).pattern("^[0-9A-Za-z_-]+$")
        }
        "refund_no" => text(name, "The number of the refund.", "R100001").within(1, 64).pattern("^[0-9A-Za-z_|*@-]+$"),
        "transaction_id" => TRANSACTION_ID.within(1, 32).pattern("^[0-9A-Za-z]+$"),
        "merchant" => text(name, "The merchant's key.", "main").within(1, 32).pattern("^[a-z0-9-]+$"),
        "month" => of(Shape::Month, name, "A month in Beijing."),
        "date" if path.ends_with("{date}") => {
            text(name, "A day in Beijing; with `.csv` or `.xlsx` behind, the day's lines as a file.", "2026-11-27")
                .pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}([.](csv|xlsx))?$")
        }
        "date" => of(Shape::Day, name, "A day in Beijing."),
        "file" => text(name, "A day in Beijing and the kind of file.", "2026-11-27.csv")
            .pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}[.](csv|xlsx)$"),
        "id" if is_number => number(name, "The id that the list has.").within(0, i64::MAX),
        _ => text(name, "As the list has it.", "example").within(1, 64).pattern("^[!-~]+$"),
    }
}

/// Schemas that belong to no address alone.
pub const SHARED: &[Object] = &[
    object(
        "Problem",
        "A refusal, RFC 9457. Which `type`s an address has is with each status.",
        &[
            text("type", "Which problem; stable. Compare it, or `code`.", "https://wxpay-worker.dev/problems/invalid"),
            text("title", "The kind of problem, for people.", "Invalid fields"),
            number("status", "The HTTP status.").example("400"),
            text(
                "detail",
                "This one, for people; the wording may change.",
                "the request has fields that break their rules",
            ),
            text("code", "The name in `type` with underscores.", "invalid"),
            text("docs", "This server's page about it.", "/problems/invalid"),
            text(
                "request_id",
                "Quote it in support requests; also in `X-Request-Id` and in the log.",
                "5VZpdOEcAjI4kiIPPxzN",
            ),
            of(Shape::Flag, "retryable", "Whether the same request may succeed later; then there is `Retry-After`."),
            objects("errors", "With `invalid`: every field that breaks a rule, the first fifty.", "FieldProblem")
                .optional(),
            number("errors_left_out", "How many more fields break a rule.").optional(),
            text("order_no", "With `order-failed`: the order.", "A100001").optional(),
            text("refund_no", "With `refund-failed`: the refund.", "R100001").optional(),
            of(Shape::Object("WechatError"), "wechat", "With `order-failed` and `refund-failed`: WeChat's words.")
                .optional(),
            number("left_fen", "With `refund-exceeds` and `refund-cap`: how many fen are left.").optional(),
            number("payment_refunded_fen", "With `refund-failed`: what WeChat refunded of the payment otherwise.")
                .optional(),
            text("last_closed", "With `period-out-of-order`: the last month that is closed.", "2026-10").optional(),
            objects("days", "With `period-open-days`: the days that are open.", "OpenDay").optional(),
        ],
    ),
    object(
        "FieldProblem",
        "A field and the rule it breaks. It has one of `pointer`, `parameter` and `header`.",
        &[
            text("pointer", "A member of the body, as a JSON pointer.", "/amount_fen").optional(),
            text("parameter", "A part of the path or the query.", "order_no").optional(),
            text("header", "A header.", "Idempotency-Key").optional(),
            text("message", "The rule.", "is required"),
        ],
    ),
    object(
        "OpenDay",
        "A day that is neither balanced nor explained.",
        &[of(Shape::Day, "day", "The day."), text("state", "Its state.", "red")],
    ),
    object(
        "WechatError",
        "What WeChat said, in its own names.",
        &[
            text("err_code", "WeChat's code, or FAIL, UNSIGNED, HTTP, UNUSABLE.", "NOTENOUGH"),
            text("err_code_des", "WeChat's words.", "余额不足"),
            of(Shape::Flag, "unsigned", "True where WeChat did not sign the words.").optional(),
        ],
    ),
    request("ReasonRequest", "Why it is done.", &[REASON]),
    request(
        "OptionalReasonRequest",
        "Why it is done.",
        &[text("reason", "Why; stands in the audit.", "The secret leaked").bytes(REASON_MAX_BYTES).optional()],
    ),
];
