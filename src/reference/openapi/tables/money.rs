//! Payments and refunds.

use super::common::{
    AFTER, CURRENCY, FROM, LIMIT, MERCHANT, MERCHANT_KEY, NEXT, OF_MERCHANT, OPS_LIMIT, OUT_TRADE_NO, TO,
    TRANSACTION_ID,
};
use crate::config::Scope;
use crate::http::{AWAITING, NOT_APPROVED};
use crate::money::Fen;
use crate::new_refund::REASON_MAX_BYTES;
use crate::order::{HeldReason, PaymentClass};
use crate::reference::openapi::field::{
    Field, Names, fen, flag, flag_01, names_of, number, object as object_field, objects, text, time, word,
};
use crate::reference::openapi::operation::{
    Content, Object, Operation, Section, answer, get, located, object, post, request,
};
use crate::refund::{RefundOrigin, RefundState};
use crate::store::{ApprovalKind, ApprovalState};

const REFUND: Content = Content::Json("Refund");
const PAYMENT: Content = Content::Json("Payment");
const APPROVAL: Content = Content::Json("Approval");
const ORDER_NO: Field = text("order_no", "The order; null where the money has none.", "A100001").or_null();

/// Why money does not go back.
const REFUSALS: &[&str] = &[
    "not-found",
    "order-not-paid",
    "payment-accepted",
    "payment-matched",
    "payment-differs",
    "refunds-not-configured",
    "refund-exceeds",
    "refunds-used-up",
    "refund-cap",
    "refund-differs",
    "refund-failed",
    "key-reused",
    "not-approved",
    "approval-ended",
    "approvals-used-up",
];
/// Why a request is not decided.
const NOT_DECIDED: &[&str] = &[
    "not-found",
    "approval-own",
    "approval-ended",
    "payment-differs",
    "payment-given-back",
    "payment-foreign",
    "payment-accepted",
    "payment-matched",
    "refunds-not-configured",
    "refund-exceeds",
    "refunds-used-up",
    "refund-cap",
    "refund-differs",
    "key-reused",
];
/// The states of a refund, and of one that takes a second person.
const REFUND_STATES: Names = || {
    let states = RefundState::ALL.iter().map(|state| state.as_str());
    states.chain([AWAITING, NOT_APPROVED]).collect()
};
const WAITING: Names = || vec!["waiting"];

const OPERATIONS: &[Operation] = &[
    post("/v1/orders/{order_no}/refunds", "refundOrder", "Give money of an order back")
        .about(
            "In part, or all that is left. The refund and its reservation are recorded before the answer. A refund \
            that \
             is `requested`, `unknown` or `processing` is pending and has not failed: repeat the same request, and \
             never ask for it under another number.",
        )
        .key(Scope::Refunds)
        .query(&[MERCHANT])
        .optional_body("RefundRequest")
        .answers(&[
            answer(200, REFUND, "WeChat has taken the refund."),
            located(202, REFUND, "WeChat has not taken it yet, or a second person must approve it: see `Location`."),
        ])
        .refusals(REFUSALS)
        .waits()
        .idempotent(),
    post("/v1/payments/{transaction_id}/refunds", "refundPayment", "Give a payment back")
        .about("As by the order; also of money that has no order, about which WeChat is asked first.")
        .key(Scope::Refunds)
        .query(&[MERCHANT])
        .optional_body("RefundRequest")
        .answers(&[
            answer(200, REFUND, "WeChat has taken the refund."),
            located(202, REFUND, "WeChat has not taken it yet, or a second person must approve it: see `Location`."),
        ])
        .refusals(REFUSALS)
        .waits()
        .idempotent(),
    get("/v1/refunds", "listRefunds", "List refunds")
        .about("Newest first.")
        .key(Scope::Finance)
        .query(&[OF_MERCHANT, word("state", "In this state.", names_of!(RefundState)).optional(), AFTER, LIMIT])
        .answers(&[answer(200, Content::Json("RefundList"), "A page of refunds.")])
        .refusals(&["not-found"]),
    get("/v1/refunds/{refund_no}", "getRefund", "Read a refund")
        .key(Scope::Refunds)
        .query(&[MERCHANT, flag_01("refresh", "1 asks WeChat first, where there is something to learn.")])
        .answers(&[answer(200, REFUND, "The refund.")]),
    get("/v1/payments", "listPayments", "List payments")
        .about("Everything that WeChat holds for the merchants, newest first, whether it has an order or not.")
        .key(Scope::Finance)
        .query(&[
            OF_MERCHANT,
            word("class", "Of this class.", names_of!(PaymentClass)).optional(),
            text("order_no", "Of this order.", "A100001").bytes(32).pattern("^[0-9A-Za-z_-]+$").optional(),
            FROM,
            TO,
            AFTER,
            LIMIT,
        ])
        .answers(&[answer(200, Content::Json("PaymentList"), "A page of payments.")])
        .refusals(&["not-found"]),
    get("/v1/payments/{transaction_id}", "getPayment", "Read a payment")
        .about("With every change of its class.")
        .key(Scope::Finance)
        .query(&[MERCHANT])
        .answers(&[answer(200, PAYMENT, "The payment with its `history`.")]),
    get("/v1/ops/approvals", "listApprovals", "List what takes a second person")
        .about("Money above `limits.second_person_fen` that a caller wants credited or refunded. Newest first.")
        .key(Scope::Ops)
        .query(&[OF_MERCHANT, word("state", "Only what waits.", WAITING).optional(), AFTER, OPS_LIMIT])
        .answers(&[answer(200, Content::Json("ApprovalList"), "A page of requests.")])
        .refusals(&["not-found"]),
    get("/v1/ops/approvals/{id}", "getApproval", "Read a request for a second person")
        .key(Scope::Ops)
        .answers(&[answer(200, APPROVAL, "The request.")]),
    post("/v1/ops/approvals/{id}/approve", "approve", "Approve as the second person")
        .about(
            "WeChat is asked what it holds, then what was asked for is done at once, with its own idempotency key. \
             Neither who asked, under whichever of its keys, nor a key of the same maker may approve. About a \
             refund the scope `refunds` is needed as well. Approved before, it is not done again.",
        )
        .key(Scope::Ops)
        .body("ReasonRequest")
        .answers(&[answer(200, APPROVAL, "It is done, also where it was approved before.")])
        .refusals(NOT_DECIDED),
    post("/v1/ops/approvals/{id}/refuse", "refuse", "Refuse as the second person")
        .about("Who asked may withdraw the request in this way.")
        .key(Scope::Ops)
        .body("ReasonRequest")
        .answers(&[answer(200, APPROVAL, "It is refused, also where it was before. No money moves.")])
        .refusals(&["not-found", "approval-own", "approval-ended"]),
];

const OBJECTS: &[Object] = &[
    request(
        "RefundRequest",
        "What is to go back. One of `amount_fen` and `all` is needed. Unknown members are refused.",
        &[
            text(
                "refund_no",
                "Your number of the refund, unique per merchant. Needed with `amount_fen`, unless there is \
                  an `Idempotency-Key`: the repeat of a request without either would be another refund.",
                "R100001",
            )
            .bytes(32)
            .pattern("^[0-9A-Za-z_-]+$")
            .optional(),
            fen("amount_fen", "How much, in fen.").within(1, Fen::ORDER_MAX.as_i64()).optional(),
            flag("all", "True for all that is left of the payment, without `amount_fen`.").optional(),
            text("reason", "The payer reads it. At most 80 bytes, no control characters.", "Out of stock")
                .bytes(REASON_MAX_BYTES)
                .optional(),
            text(
                "transaction_id",
                "Which payment. Needed where the order has several and not the one that counts is \
                  meant; under `/v1/payments` the one of the path, or left out.",
                "4200002134202611270000000001",
            )
            .bytes(32)
            .pattern("^[0-9A-Za-z]+$")
            .optional(),
        ],
    ),
    object(
        "Refund",
        "Money on its way back.",
        &[
            text("refund_no", "The number of the refund.", "R100001"),
            MERCHANT_KEY,
            ORDER_NO,
            OUT_TRADE_NO,
            TRANSACTION_ID,
            text("refund_id", "WeChat's number of the refund.", "50300021342026112700000001").or_null(),
            word(
                "state",
                "Final are `succeeded` and `failed`. Not recorded are `awaiting_approval` and `not_approved`.",
                REFUND_STATES,
            ),
            text("message", "What the state means, for people.", "The payer has the money."),
            word(
                "origin",
                "Who asked for it: the API, the merchant's policy, WeChat's console.",
                names_of!(RefundOrigin),
            ),
            fen("amount_fen", "What goes back, in fen."),
            fen("paid_fen", "What the payment came to, in fen."),
            CURRENCY,
            text("reason", "As it was given.", "Out of stock").or_null(),
            object_field("wechat", "What WeChat last said against it.", "WechatError").or_null(),
            time("created_at", "When it was recorded."),
            time("updated_at", "When it changed last."),
            time("refunded_at", "When the payer had the money.").or_null(),
            fen("payment_refunded_fen", "Of one that failed for want of room: what WeChat refunded otherwise.")
                .optional(),
            object_field("approval", "Of one that takes a second person: the request.", "Approval").optional(),
        ],
    ),
    object(
        "Approval",
        "A request that takes a second person.",
        &[
            number("id", "Its id.").example("17"),
            word("kind", "Crediting held money, or a refund.", names_of!(ApprovalKind)),
            word("state", "`approved`: it was done.", names_of!(ApprovalState)),
            MERCHANT_KEY,
            ORDER_NO,
            TRANSACTION_ID,
            text("refund_no", "Of a refund.", "R100001").or_null(),
            fen("amount_fen", "How much, in fen."),
            fen("order_amount_fen", "Of a payment to accept: what its order is for.").or_null(),
            word("class", "Of a refund: what its payment was when asked for.", names_of!(PaymentClass)).or_null(),
            CURRENCY,
            text("reason", "As it was given.", "The customer called").or_null(),
            text("asked_by", "The key or user that asked.", "shop-backend"),
            time("asked_at", "When."),
            time("expires_at", "Until when it waits."),
            text("decided_by", "The key or user that decided.", "ops-backend").or_null(),
            time("decided_at", "When.").or_null(),
            text("decision_reason", "Why.", "Checked with the shop").or_null(),
        ],
    ),
    object("ApprovalList", "A page of requests.", &[objects("approvals", "Newest first.", "Approval"), NEXT]),
    object("RefundList", "A page of refunds.", &[objects("refunds", "Newest first.", "Refund"), NEXT]),
    object(
        "Payment",
        "Money that WeChat reported.",
        &[
            TRANSACTION_ID,
            MERCHANT_KEY,
            ORDER_NO,
            OUT_TRADE_NO,
            word(
                "class",
                "`credited` counts for its order; `held` and `unmatched` wait for a person.",
                names_of!(PaymentClass),
            ),
            word("reason", "Why it is held.", names_of!(HeldReason)).or_null(),
            fen("amount_fen", "What was paid, in fen."),
            CURRENCY,
            fen("refunded_fen", "What went back of it, in fen.").example("0"),
            time("paid_at", "By WeChat's clock."),
            time("recorded_at", "When it was recorded."),
            time("updated_at", "When it changed last."),
            objects("history", "Every change of its class, oldest first.", "PaymentEntry").optional(),
        ],
    ),
    object(
        "PaymentEntry",
        "A ledger row about a payment.",
        &[
            text("entry", "`payment`, `matched`, `accepted` or `returned`.", "payment"),
            text("from", "The class before.", "held").or_null(),
            text("to", "The class after.", "credited").or_null(),
            fen("amount_fen", "In fen."),
            text("reason", "Why it is held, or was changed.", "late").or_null(),
            text("by", "Who changed it.", "ops-backend").or_null(),
            text("evidence", "What it rests on: a source and its id.", "query:A100001").or_null(),
            time("recorded_at", "When."),
        ],
    ),
    object("PaymentList", "A page of payments.", &[objects("payments", "Newest first.", "Payment"), NEXT]),
];

pub const SECTION: Section = Section {
    name: "Payments and refunds",
    about: "Money that came, and money on its way back.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
