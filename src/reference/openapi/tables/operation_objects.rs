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

const MERCHANT: Field = text("merchant", "The merchant's key.", "main").or_null();
const ORDER_NO: Field = text("order_no", "The order, where it is about one.", "A100001").or_null();
const TRANSACTION_ID: Field =
    text("transaction_id", "WeChat's number of the payment.", "4200002134202611270000000001").or_null();
const REASON: Field = text("reason", "Why; a stable word where a program chose it.", "unknown_order");
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
            text("id", "Its id in lists and paths.", "01a2031c-1799-7669-acdd-0b9870d5a07f"),
            text("merchant", "The merchant's key.", "main"),
            text("kind", "Of a payment, or of a refund.", "pay").or_null(),
            text("verdict", "What became of it.", "settled"),
            REASON.or_null(),
            MEANS,
            MEND,
            ORDER_NO,
            text("out_trade_no", "The attempt's number at WeChat.", "A100001").or_null(),
            TRANSACTION_ID,
            text("verified_by", "Algorithm and fingerprint of the key.", "HMAC-SHA256 key 235564b35ba8").or_null(),
            text("remote_addr", "The address it came from.", "203.0.113.7"),
            time("received_at", "When it came."),
            time("processed_at", "When it was settled, or found to be settled.").or_null(),
            number("copies", "How often the same was posted."),
            time("last_received_at", "When the same came last."),
            of(Shape::Any, "headers", "Pairs of name and value.").optional(),
            of(Shape::Json, "body", "Its elements, masked; null where it cannot be read.").or_null().optional(),
            number("body_bytes", "The body's length in bytes.").optional(),
            text("body_sha256", "Of the body, in hex.", "2c26b46b68ffc68f").optional(),
            flag("is_sample", "Whether only a sample of such bodies is kept.").optional(),
            objects("changes", "What it changed.", "NotificationChange").optional(),
        ],
    ),
    object(
        "NotificationChange",
        "A change of an order.",
        &[
            number("version", "Of the order."),
            of(Shape::Any, "fact", "Masked."),
            time("recorded_at", "When it was recorded."),
        ],
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
            number("id", "Its id in lists and paths."),
            MERCHANT,
            ORDER_NO,
            REASON,
            MEANS,
            MEND,
            word("state", "How it stands.", names_of!(DeadLetterState)),
            text("consumer", "The part of the service that it is for.", "notify"),
            text("event_id", "The message's id.", "01a2031c-17a1-7399-8167-ed727ae0ac0d"),
            text("subject", "Of the message.", "pay.in.main.notify.received"),
            number("attempts", "How often it was tried."),
            text("first_error", "Why the first attempt failed.", "order not found"),
            text("last_error", "Why the last one failed.", "order not found"),
            time("parked_at", "When it was given up."),
            time("ended_at", "When it ended.").or_null(),
            text("ended_by", "Who replayed or discarded it.", "ops-backend").or_null(),
            text("ended_reason", "Why.", "Of a test").or_null(),
            objects("attempt_list", "Oldest first.", "DeadLetterAttempt").optional(),
            of(Shape::Any, "message", "Masked; null where it cannot be read.").optional(),
            number("message_bytes", "The message's length in bytes.").optional(),
        ],
    ),
    object(
        "DeadLetterAttempt",
        "An attempt at a message.",
        &[
            number("attempt", "From 1."),
            time("at", "When.").or_null(),
            text("error", "Why it failed.", "order not found"),
        ],
    ),
    object(
        "DeadLetterGroups",
        "Dead letters by reason.",
        &[objects("groups", "The largest first.", "DeadLetterGroup")],
    ),
    object(
        "DeadLetterGroup",
        "Dead letters of one reason and consumer.",
        &[
            REASON,
            MEANS,
            MEND,
            text("consumer", "The part of the service that it is for.", "notify"),
            number("count", "How many."),
            time("first", "The oldest."),
            time("last", "The newest."),
        ],
    ),
    object("AuditList", "A page of the audit.", &[objects("audit", "Newest first.", "AuditEntry"), NEXT]),
    object(
        "AuditEntry",
        "Something that was done, or refused.",
        &[
            number("id", "Its id in lists and paths."),
            time("at", "When."),
            text("actor", "The name of the API key or user.", "ops-backend"),
            text("actor_id", "The key's or user's id.", "ops-backend").or_null(),
            text("remote_addr", "The address it came from.", "203.0.113.7"),
            text("action", "What was done.", "refund.request"),
            MERCHANT,
            ORDER_NO,
            TRANSACTION_ID,
            text("subject", "What else it is about.", "R100001").or_null(),
            text("reason", "Why; a stable word where a program chose it.", "Out of stock").or_null(),
            text("result", "What came of it.", "done"),
        ],
    ),
    object("Jobs", "What the scheduler does.", &[objects("jobs", "By name.", "Job")]),
    object(
        "Job",
        "What the scheduler does.",
        &[
            text("name", "Its name.", "retention"),
            text("cron", "When it is due: seconds, minutes, hours, days, months, weekdays, in UTC.", "0 0 4 * * *"),
            number("deadline_ms", "The longest a run takes."),
            time("next_due", "When it is due next."),
            object_field("lease", "Who holds it.", "Lease").or_null(),
            object_field("last", "The last run.", "JobReport").or_null(),
            object_field("last_done", "The last one that did what it should.", "JobReport").or_null(),
            object_field("last_failed", "The last one that did not.", "JobReport").or_null(),
        ],
    ),
    object(
        "Lease",
        "Who may run a job.",
        &[
            text("holder", "The process.", "4711-q0b6uS2r"),
            number("term", "Counts the holders."),
            time("expires_at", "Until when."),
        ],
    ),
    object(
        "JobReport",
        "A run.",
        &[
            word("outcome", "How it ended.", names_of!(JobOutcome)),
            time("started_at", "When it began."),
            time("ended_at", "When it ended.").or_null(),
            number("done", "How much it did."),
            text("detail", "What it says of itself.", "").or_null(),
            text("holder", "The process.", "4711-q0b6uS2r"),
            number("term", "Counts the holders."),
        ],
    ),
    object(
        "JobRun",
        "A job that was made due.",
        &[text("job", "Its name.", "retention"), word("result", "What came of it.", RESULTS), time("at", "When.")],
    ),
    object("Degradations", "What does not work.", &[objects("degraded", "What does not work.", "Degradation")]),
    object(
        "Degradation",
        "Something of a merchant that does not work.",
        &[
            text("merchant", "The merchant's key.", "main"),
            text("what", "Which part.", "merchant"),
            text("reason", "Why; a stable word where a program chose it.", "signature"),
            text("check", "What to check.", "merchants.v2_key"),
            flag("is_hint", "Whether any sender may have caused it."),
            object_field("wechat", "WeChat's words.", "WechatError").or_null(),
            time("since", "Since when."),
            time("last_refused_at", "When WeChat refused it last."),
            time("next_probe_at", "When it is tried again.").or_null(),
        ],
    ),
    object(
        "Bus",
        "The queue.",
        &[
            word("kind", "NATS, or the embedded queue.", KINDS),
            objects("streams", "Of the queue.", "Stream"),
            objects("consumers", "The service's own consumers.", "Consumer"),
        ],
    ),
    object(
        "Stream",
        "A stream of the queue.",
        &[
            text("name", "Its name.", "PAY_IN"),
            of(Shape::Texts, "subjects", "What goes into it.").example("[\"pay.in.>\"]"),
            number("messages", "How many it holds."),
            number("bytes", "What it holds, in bytes."),
            number("max_bytes", "Null without a limit.").or_null(),
            number("percent", "Of `max_bytes`.").or_null(),
            word("when_full", "Whether it refuses messages, or drops its oldest ones.", WHEN_FULL),
            number("max_age_hours", "After which messages are dropped."),
            of(Shape::Texts, "consumers", "The service's own consumers.").example("[\"notify\"]"),
        ],
    ),
    object(
        "Consumer",
        "A consumer of the queue.",
        &[
            text("name", "Its name.", "notify"),
            text("stream", "The stream that it reads.", "PAY_IN").or_null(),
            number("pending", "Messages that wait. A bundle of notifications counts once."),
            number("in_flight", "Messages that are being processed. A bundle counts once."),
            number("oldest_age_s", "Seconds.").or_null(),
        ],
    ),
    object("MessageList", "A page of messages.", &[objects("messages", "In their order.", "Message"), NEXT]),
    object(
        "Message",
        "A message of the queue.",
        &[
            number("seq", "Its place in the stream; that of its bundle, where it came in one."),
            text("subject", "Of the message.", "pay.in.main.notify.received"),
            MERCHANT,
            text("id", "Its id in lists and paths.", "01a2031c-17a1-7399-8167-ed727ae0ac0d").or_null(),
            time("published_at", "When it was published."),
            of(Shape::Any, "message", "Masked; null where it cannot be read."),
            number("message_bytes", "The message's length in bytes."),
        ],
    ),
];
