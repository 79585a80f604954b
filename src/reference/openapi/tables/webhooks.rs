//! Endpoints of webhooks.

use super::common::{AFTER, MERCHANT_KEY, NEXT, OF_MERCHANT, OPS_LIMIT};
use crate::config::Scope;
use crate::reference::openapi::field::{
    Field, Names, Shape, names_of, number, object as object_field, objects, of, text, time, word,
};
use crate::reference::openapi::operation::{
    Content, Object, Operation, Section, answer, delete, get, located, object, patch, post, request,
};
use crate::store::{Cause, DeliveryState, DisabledReason, EndpointFormat, EndpointState};
use crate::webhooks::Outcome;
use crate::webhooks::address::MAX_BYTES;

const ENDPOINT: Content = Content::Json("WebhookEndpoint");
const SWITCH: Names = || vec!["enabled", "disabled"];
const TEXT_MAX_BYTES: usize = 500;
/// What a new and a rotated endpoint may be refused for.
const KEY: &str = "webhooks-not-configured";

const OPERATIONS: &[Operation] = &[
    post("/v1/webhooks", "createWebhook", "Add an endpoint")
        .about("The answer has the secret with which messages are signed (Standard Webhooks); no later answer has it.")
        .key(Scope::Finance)
        .body("WebhookRequest")
        .answers(&[located(201, Content::Json("WebhookEndpoint"), "The endpoint with its `secret`.")])
        .refusals(&["not-found", "webhooks-used-up", KEY]),
    get("/v1/webhooks", "listWebhooks", "List endpoints")
        .about("Newest first.")
        .key(Scope::Finance)
        .query(&[
            OF_MERCHANT,
            AFTER,
            number("limit", "Endpoints a page, 100 at most; 50 where it is left out.").within(1, 500).optional(),
        ])
        .answers(&[answer(200, Content::Json("WebhookList"), "A page of endpoints.")])
        .refusals(&["not-found"]),
    get("/v1/webhooks/{id}", "getWebhook", "Read an endpoint").key(Scope::Finance).answers(&[answer(
        200,
        ENDPOINT,
        "The endpoint.",
    )]),
    patch("/v1/webhooks/{id}", "updateWebhook", "Change an endpoint")
        .about("What is left out stays. Enabling one sends what it missed since it was disabled.")
        .key(Scope::Finance)
        .body("WebhookChange")
        .answers(&[answer(200, ENDPOINT, "The endpoint.")]),
    delete("/v1/webhooks/{id}", "deleteWebhook", "Delete an endpoint")
        .key(Scope::Finance)
        .optional_body("OptionalReasonRequest")
        .answers(&[answer(204, Content::None, "It is deleted, and what was pending for it is cancelled.")]),
    post("/v1/webhooks/{id}/rotate", "rotateWebhook", "Change the secret of an endpoint")
        .about("Messages are signed with both secrets for a while.")
        .key(Scope::Finance)
        .optional_body("OptionalReasonRequest")
        .answers(&[answer(200, ENDPOINT, "The endpoint with its new `secret`.")])
        .refusals(&[KEY]),
    post("/v1/webhooks/{id}/test", "testWebhook", "Post a test message now")
        .key(Scope::Finance)
        .answers(&[answer(200, Content::Json("WebhookTest"), "What came of it, also where it failed.")])
        .refusals(&[KEY]),
    post("/v1/webhooks/{id}/recover", "recoverWebhook", "Send what failed once more")
        .key(Scope::Finance)
        .query(&[time("since", "Deliveries made at this time or later; all where it is left out.").optional()])
        .optional_body("OptionalReasonRequest")
        .answers(&[answer(200, Content::Json("Recovered"), "How many deliveries are pending again.")])
        .refusals(&[KEY]),
    get("/v1/webhooks/{id}/deliveries", "listDeliveries", "List the deliveries of an endpoint")
        .about("Newest first.")
        .key(Scope::Finance)
        .query(&[word("state", "In this state.", names_of!(DeliveryState)).optional(), AFTER, OPS_LIMIT])
        .answers(&[answer(200, Content::Json("DeliveryList"), "A page of deliveries.")]),
    get("/v1/webhooks/{id}/attempts", "listWebhookAttempts", "List the attempts of an endpoint")
        .about("Newest first.")
        .key(Scope::Finance)
        .query(&[number("delivery", "Of this delivery.").optional(), AFTER, OPS_LIMIT])
        .answers(&[answer(200, Content::Json("WebhookAttemptList"), "A page of attempts.")]),
];

const EVENTS: Field =
    of(Shape::Texts, "events", "Types as `order.paid` or `wxpay.order.paid.v1`; all where it is empty.")
        .example("[\"order.paid\"]");
const URL: Field = text(
    "url",
    "https, at most 2048 bytes, with a host that the internet can reach unless the configuration allows others.",
    "https://shop.example.com/hooks",
);
const CHANGE_REASON: Field = text("reason", "Why; stands in the audit.", "A new host").bytes(TEXT_MAX_BYTES).optional();

const OBJECTS: &[Object] = &[
    request(
        "WebhookRequest",
        "Where a merchant's events are posted.",
        &[
            text("merchant", "The merchant's key. Required where the API key sees several.", "main").optional(),
            word(
                "format",
                "`events` where it is left out. `wecom`: a group robot of WeCom, `url` as WeCom shows it. `mail`: \
                 mails, `url` like `mailto:ops@example.com`.",
                names_of!(EndpointFormat),
            )
            .optional(),
            URL.bytes(MAX_BYTES),
            text("description", "For people.", "Warehouse").bytes(TEXT_MAX_BYTES).optional(),
            EVENTS.optional(),
            CHANGE_REASON,
        ],
    ),
    request(
        "WebhookChange",
        "What changes of an endpoint: one member besides `reason` at least.",
        &[
            URL.bytes(MAX_BYTES).optional(),
            text("description", "For people; may be empty.", "Warehouse")
                .within(0, TEXT_MAX_BYTES as i64)
                .max_bytes(TEXT_MAX_BYTES)
                .optional(),
            EVENTS.optional(),
            word("state", "How it stands.", SWITCH).optional(),
            CHANGE_REASON,
        ],
    ),
    object(
        "WebhookEndpoint",
        "Where a merchant's events are posted.",
        &[
            text("id", "Its id in lists and paths.", "01a2031c-1799-7669-acdd-0b9870d5a07f"),
            MERCHANT_KEY,
            word("format", "What it is sent.", names_of!(EndpointFormat)),
            URL,
            text("description", "For people.", "Warehouse"),
            EVENTS,
            word("state", "How it stands.", names_of!(EndpointState)),
            word(
                "disabled_reason",
                "By a person, by an answer 410, or because every attempt failed.",
                names_of!(DisabledReason),
            )
            .or_null(),
            time("disabled_at", "When it was disabled.").or_null(),
            time("failing_since", "The first failure since the last success.").or_null(),
            time("old_secret_until", "Until when the secret before signs, too.").or_null(),
            time("created_at", "When it was made."),
            text("created_by", "Who made it.", "finance-backend"),
            time("updated_at", "When it changed last."),
            number("pending", "Deliveries that wait.").example("0"),
            number("failed", "Deliveries that were given up.").example("0"),
            time("next_attempt_at", "When it is posted next.").or_null(),
            time("last_attempt_at", "When it was posted last.").or_null(),
            object_field("attempts", "The newest ones.", "WebhookCounts"),
            text(
                "secret",
                "In the answer that made it; none without `events`.",
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            )
            .optional(),
        ],
    ),
    object(
        "WebhookCounts",
        "Of the newest attempts.",
        &[number("total", "How many were made."), number("succeeded", "How many of them succeeded.")],
    ),
    object("WebhookList", "A page of endpoints.", &[objects("webhooks", "Newest first.", "WebhookEndpoint"), NEXT]),
    object("Recovered", "What is pending again.", &[number("recovered", "Deliveries.")]),
    object("DeliveryList", "A page of deliveries.", &[objects("deliveries", "Newest first.", "Delivery"), NEXT]),
    object(
        "Delivery",
        "An event on its way to an endpoint.",
        &[
            text("id", "Its id in lists and paths.", "17"),
            text("event_id", "The same id at every attempt: dedupe on it.", "01a2031c-17a1-7399-8167-ed727ae0ac0d"),
            text("type", "Of the event.", "wxpay.order.paid.v1"),
            text("order_no", "The order, where it is about one.", "A100001").or_null(),
            word("state", "How it stands.", names_of!(DeliveryState)),
            number("attempts", "So far."),
            time("next_attempt_at", "When it is posted next.").or_null(),
            time("first_attempt_at", "When it was posted first.").or_null(),
            time("last_attempt_at", "When it was posted last.").or_null(),
            number("last_status", "The HTTP status of the last answer.").example("503").or_null(),
            text("last_error", "Why there was none.", "timeout").or_null(),
            time("created_at", "When it was made."),
            time("ended_at", "When it ended.").or_null(),
        ],
    ),
    object(
        "WebhookAttemptList",
        "A page of attempts.",
        &[objects("attempts", "Newest first.", "WebhookAttempt"), NEXT],
    ),
    object(
        "WebhookAttempt",
        "A message that was posted, or was to be.",
        &[
            text("id", "Its id in lists and paths.", "42"),
            text("delivery", "Null for a test.", "17").or_null(),
            word("cause", "Why it was posted.", names_of!(Cause)),
            text("order_no", "The order, where it is about one.", "A100001").or_null(),
            time("started_at", "When it began."),
            number("took_ms", "Milliseconds."),
            word("outcome", "How it ended.", names_of!(Outcome)),
            text("error", "Why there is no answer.", "timeout").or_null(),
            object_field("request", "What was posted.", "WebhookMessage"),
            object_field("answer", "What the receiver answered; null without an answer.", "ReceiverAnswer").or_null(),
        ],
    ),
    object(
        "WebhookMessage",
        "What was posted; the signature is not kept.",
        &[
            URL,
            text("webhook-id", "The event's id.", "01a2031c-17a1-7399-8167-ed727ae0ac0d"),
            text("webhook-timestamp", "Seconds.", "1795355574"),
            text("type", "Of the event.", "wxpay.order.paid.v1"),
            number("bytes", "Of the body.").example("512"),
        ],
    ),
    object(
        "ReceiverAnswer",
        "The answer of a receiver.",
        &[number("status", "HTTP.").example("200"), text("body", "Its beginning, as plain text.", "ok").or_null()],
    ),
    object(
        "WebhookTest",
        "What came of a test message.",
        &[
            word("outcome", "How it ended.", names_of!(Outcome)),
            text("error", "Why it failed.", "timeout").or_null(),
            number("took_ms", "Milliseconds."),
            object_field("answer", "What the receiver answered; null without an answer.", "ReceiverAnswer").or_null(),
        ],
    ),
];

pub const SECTION: Section = Section {
    name: "Webhooks",
    about: "Events posted to the merchant's own servers, by Standard Webhooks.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
