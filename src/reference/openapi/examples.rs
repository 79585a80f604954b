//! Named examples of whole bodies: each is one that the service takes. A test posts them all.

/// One way to use a body.
pub struct Example {
    /// The schema of the body.
    pub schema: &'static str,
    pub name: &'static str,
    pub summary: &'static str,
    pub json: &'static str,
}

const fn example(schema: &'static str, name: &'static str, summary: &'static str, json: &'static str) -> Example {
    Example { schema, name, summary, json }
}

pub const EXAMPLES: &[Example] = &[
    example(
        "OrderRequest",
        "jsapi",
        "JSAPI: inside WeChat",
        r#"{"order_no": "A100001", "amount_fen": 100, "description": "Tea", "trade_type": "JSAPI",
            "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "attach": "table 5", "metadata": {"table": 5}}"#,
    ),
    example(
        "OrderRequest",
        "native",
        "NATIVE: a QR code",
        r#"{"order_no": "A100002", "amount_fen": 100, "description": "Tea", "trade_type": "NATIVE",
            "product_id": "sku-1"}"#,
    ),
    example(
        "OrderRequest",
        "app",
        "APP: a mobile app",
        r#"{"order_no": "A100003", "amount_fen": 100, "description": "Tea", "trade_type": "APP",
            "client_ip": "203.0.113.7"}"#,
    ),
    example(
        "OrderRequest",
        "mweb",
        "MWEB: a browser on a phone",
        r#"{"order_no": "A100004", "amount_fen": 100, "description": "Tea", "trade_type": "MWEB",
            "client_ip": "203.0.113.7",
            "scene_info": {"h5_info": {"type": "Wap", "wap_url": "https://m.example.com", "wap_name": "shop"}}}"#,
    ),
    example("AttemptRequest", "same", "The same way to pay once more", "{}"),
    example("AttemptRequest", "native", "A QR code", r#"{"trade_type": "NATIVE", "product_id": "sku-1"}"#),
    example(
        "AttemptRequest",
        "jsapi",
        "Inside WeChat",
        r#"{"trade_type": "JSAPI", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}"#,
    ),
    example(
        "AcceptRequest",
        "accept",
        "The payment that is held",
        r#"{"transaction_id": "4200002134202611270000000001", "reason": "The customer called"}"#,
    ),
    example(
        "RefundRequest",
        "part",
        "A part",
        r#"{"refund_no": "R100001", "amount_fen": 10, "reason": "Out of stock"}"#,
    ),
    example("RefundRequest", "all", "All that is left", r#"{"all": true, "reason": "Out of stock"}"#),
    example(
        "RefundRequest",
        "payment",
        "Of this one of several payments",
        r#"{"refund_no": "R100002", "amount_fen": 10, "transaction_id": "4200002134202611270000000001"}"#,
    ),
    example("ReconciliationRequest", "day", "A day", r#"{"merchant": "main", "date": "2026-11-27"}"#),
    example("DayNoteRequest", "note", "Why the day is right", r#"{"note": "Compared with the statement"}"#),
    example("NoteRequest", "note", "Why the sides differ", r#"{"note": "Paid out by hand"}"#),
    example("StopRequest", "stop", "Why it is stopped", r#"{"reason": "The wrong day"}"#),
    example("RepairRequest", "plan", "What would be done", r#"{"dry_run": true}"#),
    example("RepairRequest", "page", "The next page of the plan", r#"{"dry_run": true, "after": 100}"#),
    example("RepairRequest", "repair", "Carry it out", r#"{"dry_run": false, "reason": "Missed over the weekend"}"#),
    example(
        "RepairRequest",
        "line",
        "One line alone",
        r#"{"dry_run": false, "line": 1, "reason": "Missed over the weekend"}"#,
    ),
    example("WebhookRequest", "all", "All events", r#"{"url": "https://shop.example.com/hooks"}"#),
    example(
        "WebhookRequest",
        "some",
        "Some events",
        r#"{"url": "https://shop.example.com/hooks", "events": ["order.paid", "refund.succeeded"],
            "description": "Warehouse"}"#,
    ),
    example("WebhookChange", "disable", "Pause it", r#"{"state": "disabled", "reason": "The host moves"}"#),
    example("WebhookChange", "enable", "Let it go on", r#"{"state": "enabled"}"#),
    example("WebhookChange", "url", "Another address", r#"{"url": "https://shop.example.com/hooks/2"}"#),
    example("WebhookChange", "events", "Other events", r#"{"events": ["order.paid"]}"#),
    example("OptionalReasonRequest", "reason", "With a reason", r#"{"reason": "The secret leaked"}"#),
    example("OptionalReasonRequest", "none", "Without one", "{}"),
    example("ReasonRequest", "reason", "Why it is done", r#"{"reason": "The customer called"}"#),
    example(
        "ReplayRequest",
        "refused",
        "Notifications that did not verify when they came",
        r#"{"select": {"kind": "notification", "refused": true}, "reason": "The key was wrong"}"#,
    ),
    example(
        "ReplayRequest",
        "dead_letters",
        "Dead letters of a reason",
        r#"{"select": {"kind": "dead_letter", "reason_class": "unknown_order"}, "reason": "The order is there now"}"#,
    ),
    example(
        "ReplayRequest",
        "ids",
        "These dead letters alone",
        r#"{"select": {"kind": "dead_letter", "ids": ["17"]}, "reason": "The order is there now"}"#,
    ),
    example(
        "ReplayRequest",
        "events",
        "The events of an order",
        r#"{"select": {"kind": "event", "order_no": "A100001"}, "reason": "The warehouse lost them"}"#,
    ),
    example(
        "ReplayRequest",
        "webhooks",
        "Webhooks of a time",
        r#"{"select": {"kind": "webhook", "from": "2026-11-27T02:00:00Z", "to": "2026-11-27T04:00:00Z"},
            "reason": "The receiver was away", "rate_per_second": 10}"#,
    ),
    example(
        "KeyRequest",
        "orders",
        "A shop's server",
        r#"{"name": "shop-backend-2", "scopes": ["orders"], "reason": "A second server"}"#,
    ),
    example(
        "KeyRequest",
        "refunds",
        "Refunds up to an amount a day, until a time",
        r#"{"name": "shop-refunds", "scopes": ["refunds"], "merchants": ["main"], "refund_cap_fen_per_day": 1000000,
            "expires_at": "2099-01-31T00:00:00Z", "rate_limit_per_second": 20, "reason": "The support desk"}"#,
    ),
    example(
        "EndSessionsRequest",
        "payer",
        "A payer whose phone was lost",
        r#"{"app": "shop", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "reason": "A phone was lost"}"#,
    ),
    example(
        "ErasureRequest",
        "payer",
        "A payer who wants to be forgotten",
        r#"{"app": "shop", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "reason": "The payer asked for it"}"#,
    ),
    example("CodeRequest", "code", "Of `wx.login`, or of the button", r#"{"code": "0a3b5c"}"#),
];
