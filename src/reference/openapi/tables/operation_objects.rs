//! The schemas of what operators see.

use super::common::NEXT;
use crate::reference::openapi::field::{
    Field, Names, Shape, flag, names_of, number, object as object_field, objects, of, text, time, word,
};
use crate::reference::openapi::operation::{Object, object};
use crate::store::{DeadLetterState, JobOutcome};

const RESULTS: Names = || vec!["done", "repeated", "running"];
const WHEN_FULL: Names = || vec!["refuses", "drops_oldest"];
const KINDS: Names = || vec!["nats", "embedded"];

const MERCHANT: Field = text("merchant", "", "main").or_null();
const ORDER_NO: Field = text("order_no", "", "A100001").or_null();
const TRANSACTION_ID: Field = text("transaction_id", "", "4200002134202611270000000001").or_null();
const REASON: Field = text("reason", "", "unknown_order");
const MEANS: Field = text("means", "What the reason means.", "No order has this number.").or_null();
const MEND: Field = text("mend", "What to do about it.", "Replay it once the order is there.").or_null();

pub const OBJECTS: &[Object] = &[
    object(
        "NotificationList",
        "A page of notifications.",
        &[objects("notifications", "Newest first.", "Notification"), NEXT],
    ),
    object(
        "Notification",
        "What was posted. The last members are there where one is read.",
        &[
            text("id", "", "01a2031c-1799-7669-acdd-0b9870d5a07f"),
            text("merchant", "", "main"),
            text("kind", "", "pay").or_null(),
            text("verdict", "What became of it.", "settled"),
            REASON.or_null(),
            MEANS,
            MEND,
            ORDER_NO,
            text("out_trade_no", "", "A100001").or_null(),
            TRANSACTION_ID,
            text("verified_by", "Algorithm and fingerprint of the key.", "HMAC-SHA256 key 235564b35ba8").or_null(),
            text("remote_addr", "", "203.0.113.7"),
            time("received_at", ""),
            time("processed_at", "").or_null(),
            number("copies", "How often the same was posted."),
            time("last_received_at", ""),
            of(Shape::Any, "headers", "Pairs of name and value.").optional(),
            of(Shape::Json, "body", "Its elements, masked; null where it cannot be read.").or_null().optional(),
            number("body_bytes", "").optional(),
            text("body_sha256", "", "2c26b46b68ffc68f").optional(),
            flag("is_sample", "Whether only a sample of such bodies is kept.").optional(),
            objects("changes", "What it changed.", "NotificationChange").optional(),
        ],
    ),
    object(
        "NotificationChange",
        "A change of an order.",
        &[number("version", "Of the order."), of(Shape::Any, "fact", "Masked."), time("recorded_at", "")],
    ),
    object(
        "DeadLetterList",
        "A page of dead letters.",
        &[objects("dead_letters", "Newest first.", "DeadLetter"), NEXT],
    ),
    object(
        "DeadLetter",
        "A message that cannot be processed. The last members are there where one is read.",
        &[
            number("id", ""),
            MERCHANT,
            ORDER_NO,
            REASON,
            MEANS,
            MEND,
            word("state", "", names_of!(DeadLetterState)),
            text("consumer", "", "notify"),
            text("event_id", "", "01a2031c-17a1-7399-8167-ed727ae0ac0d"),
            text("subject", "", "pay.in.main.notify.received"),
            number("attempts", ""),
            text("first_error", "", "order not found"),
            text("last_error", "", "order not found"),
            time("parked_at", ""),
            time("ended_at", "").or_null(),
            text("ended_by", "", "ops-backend").or_null(),
            text("ended_reason", "", "Of a test").or_null(),
            objects("attempt_list", "", "DeadLetterAttempt").optional(),
            of(Shape::Any, "message", "Masked; null where it cannot be read.").optional(),
            number("message_bytes", "").optional(),
        ],
    ),
    object(
        "DeadLetterAttempt",
        "",
        &[number("attempt", ""), time("at", "").or_null(), text("error", "", "order not found")],
    ),
    object("DeadLetterGroups", "", &[objects("groups", "The largest first.", "DeadLetterGroup")]),
    object(
        "DeadLetterGroup",
        "Dead letters of one reason and consumer.",
        &[
            REASON,
            MEANS,
            MEND,
            text("consumer", "", "notify"),
            number("count", ""),
            time("first", "The oldest."),
            time("last", "The newest."),
        ],
    ),
    object("AuditList", "A page of the audit.", &[objects("audit", "Newest first.", "AuditEntry"), NEXT]),
    object(
        "AuditEntry",
        "Something that was done, or refused.",
        &[
            number("id", ""),
            time("at", ""),
            text("actor", "The name of the API key or user.", "ops-backend"),
            text("actor_id", "", "ops-backend").or_null(),
            text("remote_addr", "", "203.0.113.7"),
            text("action", "", "refund.request"),
            MERCHANT,
            ORDER_NO,
            TRANSACTION_ID,
            text("subject", "What else it is about.", "R100001").or_null(),
            text("reason", "", "Out of stock").or_null(),
            text("result", "", "done"),
        ],
    ),
    object("Jobs", "", &[objects("jobs", "", "Job")]),
    object(
        "Job",
        "What the scheduler does.",
        &[
            text("name", "", "retention"),
            text("cron", "", "0 0 4 * * *"),
            number("deadline_ms", "The longest a run takes."),
            time("next_due", ""),
            object_field("lease", "Who holds it.", "Lease").or_null(),
            object_field("last", "The last run.", "JobReport").or_null(),
            object_field("last_done", "", "JobReport").or_null(),
            object_field("last_failed", "", "JobReport").or_null(),
        ],
    ),
    object("Lease", "", &[text("holder", "", "4711-q0b6uS2r"), number("term", ""), time("expires_at", "")]),
    object(
        "JobReport",
        "A run.",
        &[
            word("outcome", "", names_of!(JobOutcome)),
            time("started_at", ""),
            time("ended_at", "").or_null(),
            number("done", "How much it did."),
            text("detail", "", "").or_null(),
            text("holder", "", "4711-q0b6uS2r"),
            number("term", ""),
        ],
    ),
    object("JobRun", "", &[text("job", "", "retention"), word("result", "", RESULTS), time("at", "")]),
    object("Degradations", "", &[objects("degraded", "", "Degradation")]),
    object(
        "Degradation",
        "Something of a merchant that does not work.",
        &[
            text("merchant", "", "main"),
            text("what", "Which part.", "merchant"),
            text("reason", "", "signature"),
            text("check", "What to check.", "merchants.v2_key"),
            flag("is_hint", "Whether any sender may have caused it."),
            object_field("wechat", "WeChat's words.", "WechatError").or_null(),
            time("since", ""),
            time("last_refused_at", ""),
            time("next_probe_at", "").or_null(),
        ],
    ),
    object(
        "Bus",
        "",
        &[word("kind", "", KINDS), objects("streams", "", "Stream"), objects("consumers", "", "Consumer")],
    ),
    object(
        "Stream",
        "",
        &[
            text("name", "", "PAY_IN"),
            of(Shape::Texts, "subjects", "").example("[\"pay.in.>\"]"),
            number("messages", ""),
            number("bytes", ""),
            number("max_bytes", "Null without a limit.").or_null(),
            number("percent", "Of `max_bytes`.").or_null(),
            word("when_full", "", WHEN_FULL),
            number("max_age_hours", ""),
            of(Shape::Texts, "consumers", "").example("[\"notify\"]"),
        ],
    ),
    object(
        "Consumer",
        "",
        &[
            text("name", "", "notify"),
            text("stream", "", "PAY_IN").or_null(),
            number("pending", "Messages that wait."),
            number("in_flight", "Messages that are being processed."),
            number("oldest_age_s", "Seconds.").or_null(),
        ],
    ),
    object("MessageList", "", &[objects("messages", "In their order.", "Message"), NEXT]),
    object(
        "Message",
        "A message of the queue.",
        &[
            number("seq", ""),
            text("subject", "", "pay.in.main.notify.received"),
            MERCHANT,
            text("id", "", "01a2031c-17a1-7399-8167-ed727ae0ac0d").or_null(),
            time("published_at", ""),
            of(Shape::Any, "message", "Masked; null where it cannot be read."),
            number("message_bytes", ""),
        ],
    ),
];
