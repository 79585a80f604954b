//! Orders: placing, reading, paying, closing.

use super::common::{AFTER, FROM, MERCHANT, OF_MERCHANT, TO};
use super::order_objects::{ORDER_OBJECTS, ORDER_REQUESTS, TRADE_TYPE_NAMES};
use crate::config::Scope;
use crate::money::Fen;
use crate::ops::orders::{MAX_LIMIT, TEXT_MAX};
use crate::order::OrderState;
use crate::reference::openapi::field::{Field, flag_01, names_of, number, text, word};
use crate::reference::openapi::operation::{Access, Content, Operation, Section, answer, get, located, post};
use crate::store::OrderFlag;

const ORDER: Content = Content::Json("Order");
const AMOUNT_MAX: i64 = Fen::ORDER_MAX.as_i64();

const LIST_QUERY: &[Field] = &[
    OF_MERCHANT,
    word("state", "In this state.", names_of!(OrderState)).optional(),
    word("flag", "With this flag.", names_of!(OrderFlag)).optional(),
    text("app", "Of this app.", "shop").bytes(32).pattern("^[a-z0-9-]+$").optional(),
    word("trade_type", "With an attempt of this type.", TRADE_TYPE_NAMES).optional(),
    FROM,
    TO,
    number("min_amount_fen", "Of at least so many fen.").within(0, AMOUNT_MAX).optional(),
    number("max_amount_fen", "Of at most so many fen; not less than `min_amount_fen`.")
        .within(0, AMOUNT_MAX)
        .optional(),
    text(
        "q",
        "With this number of any kind, or its beginning from four characters on; else with this text in \
          `description` or `attach`, of the last 30 days where `from` is left out.",
        "A100001",
    )
    .within(1, TEXT_MAX as i64)
    .optional(),
    AFTER,
    number("limit", "Orders a page; 100 where it is left out.").within(1, MAX_LIMIT as i64).optional(),
];

/// Why an order takes no other attempt, and has no pay parameters.
const UNPAYABLE: [&str; 8] = [
    "order-ended",
    "order-expired",
    "order-closing",
    "order-held",
    "attempt-open",
    "attempts-used-up",
    "order-failed",
    "not-ready",
];

const OPERATIONS: &[Operation] = &[
    post("/v1/orders", "placeOrder", "Place an order")
        .about(
            "Records the order and registers it with WeChat. The answer waits for the pay parameters, three seconds \
             or as long as `Prefer: wait=N` says. The same `order_no` with the same content is the same order and has \
             the same answer: repeat the request whenever no answer came.",
        )
        .key(Scope::Orders)
        .body("OrderRequest")
        .answers(&[
            answer(200, ORDER, "The order, with its pay parameters; `pay_params` is null where it ended before."),
            located(202, ORDER, "The order is recorded and WeChat has not answered yet. Read it at `Location`."),
        ])
        .refusals(&["not-found", "order-differs", "number-taken", "key-reused", "order-failed"])
        .waits()
        .idempotent(),
    get("/v1/orders", "listOrders", "List orders")
        .about(
            "Newest first. A page may be short, or empty, and still have a `next`: a search ends early rather \
              than late.",
        )
        .key(Scope::Orders)
        .query(LIST_QUERY)
        .answers(&[answer(
            200,
            Content::Json("OrderList"),
            "A page of orders, without payments, refunds and pay \
              parameters.",
        )])
        .refusals(&["not-found"]),
    get("/v1/orders/{order_no}", "getOrder", "Read an order")
        .about(
            "With its attempts, all payments that WeChat reported for it, and its refunds. Who delivers by polling \
             reads `credited`, not `state`.",
        )
        .key(Scope::Orders)
        .query(&[
            MERCHANT,
            flag_01("refresh", "1 asks WeChat first, at most every two seconds; `refreshed` says whether it answered."),
        ])
        .answers(&[answer(200, ORDER, "The order.")]),
    get("/v1/orders/{order_no}/history", "getOrderHistory", "Read how an order came to its state")
        .about(
            "Requests, calls, notifications, decisions with their evidence, ledger rows, events and actions, \
              oldest first.",
        )
        .key(Scope::Ops)
        .query(&[MERCHANT])
        .answers(&[answer(200, Content::Json("Timeline"), "The newest 200 rows of each kind.")]),
    get("/v1/orders/{order_no}/pay-params", "getPayParams", "Sign the pay parameters afresh")
        .about(
            "Freshly signed while the prepay id is valid; where it is too old, WeChat is asked for another one first. \
             `trade_type` switches to another way to pay, with what the order was placed with.",
        )
        .key(Scope::Orders)
        .query(&[MERCHANT, word("trade_type", "Another way to pay than the current one.", TRADE_TYPE_NAMES).optional()])
        .answers(&[answer(200, Content::Json("PayParamsAnswer"), "What the page, the app or the QR code needs.")])
        .refusals(&UNPAYABLE),
    post("/v1/orders/{order_no}/close", "closeOrder", "Close an order")
        .about(
            "Closes it at WeChat, then here. WeChat closes nothing within five minutes of its placing: 202 until \
              then.",
        )
        .key(Scope::Orders)
        .query(&[MERCHANT])
        .answers(&[
            answer(200, ORDER, "The order is closed, or failed: nothing of it can be paid."),
            located(202, ORDER, "The order will be closed; `pending` is `close`."),
        ])
        .refusals(&["order-ended"]),
    post("/v1/orders/{order_no}/attempts", "placeAttempt", "Offer another way to pay, or more time")
        .about(
            "Amount, description and app stay. What is left out stays as the order has it. The old attempt is closed \
             at WeChat before the new one is offered.",
        )
        .key(Scope::Orders)
        .query(&[MERCHANT])
        .body("AttemptRequest")
        .answers(&[
            answer(200, ORDER, "The order with its new attempt and pay parameters."),
            located(202, ORDER, "The new attempt is asked for; `pending` is `new_attempt`."),
        ])
        .refusals(&UNPAYABLE),
    get("/v1/orders/{order_no}/stream", "followOrder", "Follow an order")
        .about(
            "Server-sent events of the name `state`; each is the whole order without payments, refunds and pay \
             parameters, and its id is the order's version. With `Last-Event-ID` what was seen is not sent again. The \
             stream ends when the order is credited, closed or failed, after an hour, and when its place is \
             needed (four newer ones of the order, or all places taken): connect again then, after the time that \
             `retry` says.",
        )
        .access(Access::KeyOrToken(Scope::Orders))
        .query(&[
            MERCHANT,
            text(
                "order_token",
                "The order's token, where no `Authorization` can be sent, as by an `EventSource`. It reads this stream \
                 alone, without `metadata`, and ends a day after the order. No API key is read from here.",
                "q0b6uS2rJ4",
            )
            .optional(),
        ])
        .answers(&[
            answer(200, Content::Stream("Order"), "The stream."),
            answer(204, Content::None, "The order ended, and its end was seen: do not connect again."),
        ])
        .refusals(&["too-many-streams"]),
    post("/v1/orders/{order_no}/revoke-token", "revokeOrderToken", "End the token of an order")
        .about(
            "The `order_token` that a payer's page follows the order with opens nothing any more, and the streams that \
             it opened end. The order has another one, in `GET /v1/orders/{order_no}`.",
        )
        .key(Scope::Ops)
        .query(&[MERCHANT])
        .body("ReasonRequest")
        .answers(&[answer(200, Content::Json("RevokedToken"), "The token of before is refused.")]),
    post("/v1/orders/{order_no}/accept", "acceptPayment", "Credit money that is held")
        .about(
            "Of a payment that came late, second, before its order, or with another amount. The order becomes paid and \
             `order.paid` is emitted once; on an order that is credited already only the payment's class changes. \
             Accepting and giving back exclude each other. Above `limits.second_person_fen`, of the payment or of an \
             order that none counts for yet, a second person is asked.",
        )
        .key(Scope::Ops)
        .query(&[MERCHANT])
        .body("AcceptRequest")
        .answers(&[
            answer(200, ORDER, "The order with its payments, also where this was done before."),
            located(202, Content::Json("Approval"), "A second person must approve it: see `Location`."),
        ])
        .refusals(&["payment-given-back", "payment-foreign", "approvals-used-up"]),
];

pub const SECTION: Section = Section {
    name: "Orders",
    about: "What the business wants paid. An order has one attempt at WeChat, or several.",
    operations: OPERATIONS,
    objects: &[ORDER_REQUESTS, ORDER_OBJECTS],
};
