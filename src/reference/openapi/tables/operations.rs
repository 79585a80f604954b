//! What operators see and do.

use super::common::{AFTER, FROM, OF_MERCHANT, OPS_LIMIT, TO};
use super::operation_objects::OBJECTS;
use crate::config::Scope;
use crate::reference::openapi::field::{Names, names_of, number, text, word};
use crate::reference::openapi::operation::{Content, Operation, Section, answer, get, post};
use crate::store::{DeadLetterState, NotificationKind};

const VERDICTS: Names = || vec!["settled", "duplicate", "no_payment", "waiting", "rejected", "parked", "refused"];

const OPERATIONS: &[Operation] = &[
    get("/v1/ops/notifications", "listNotifications", "List what WeChat posted")
        .about("Newest first; with what was refused, as far as it is kept.")
        .key(Scope::Ops)
        .query(&[
            OF_MERCHANT,
            word("verdict", "With this verdict.", VERDICTS).optional(),
            word("kind", "Of payments, or of refunds.", names_of!(NotificationKind)).optional(),
            text("reason", "Refused or parked for this reason.", "signature").optional(),
            text("order_no", "Of this order.", "A100001").optional(),
            text("id", "With this id or number of any kind.", "4200002134202611270000000001").optional(),
            FROM,
            TO,
            AFTER,
            OPS_LIMIT,
        ])
        .answers(&[answer(200, Content::Json("NotificationList"), "A page of notifications.")])
        .refusals(&["not-found"]),
    get("/v1/ops/notifications/{id}", "getNotification", "Read a notification")
        .about("With its elements, masked, and what it changed.")
        .key(Scope::Ops)
        .answers(&[answer(200, Content::Json("Notification"), "The notification.")]),
    get("/v1/ops/dead-letters", "listDeadLetters", "List dead letters")
        .about("Newest first.")
        .key(Scope::Ops)
        .query(&[
            OF_MERCHANT,
            word("state", "In this state.", names_of!(DeadLetterState)).optional(),
            text("reason", "Of this reason.", "unknown_order").optional(),
            text("consumer", "Of this consumer.", "notify").optional(),
            text("order_no", "Of this order.", "A100001").optional(),
            text("event_id", "Of this message.", "01a2031c-17a1-7399-8167-ed727ae0ac0d").optional(),
            FROM,
            TO,
            AFTER,
            OPS_LIMIT,
        ])
        .answers(&[answer(200, Content::Json("DeadLetterList"), "A page of dead letters.")])
        .refusals(&["not-found"]),
    get("/v1/ops/dead-letters/groups", "groupDeadLetters", "Count dead letters by reason")
        .about("What waits for a person, the largest group first.")
        .key(Scope::Ops)
        .answers(&[answer(200, Content::Json("DeadLetterGroups"), "The groups.")]),
    get("/v1/ops/dead-letters/{id}", "getDeadLetter", "Read a dead letter")
        .about("With its message, masked, and its attempts.")
        .key(Scope::Ops)
        .answers(&[answer(200, Content::Json("DeadLetter"), "The dead letter.")]),
    post("/v1/ops/dead-letters/{id}/discard", "discardDeadLetter", "Discard a dead letter")
        .key(Scope::Ops)
        .body("ReasonRequest")
        .answers(&[answer(200, Content::Json("DeadLetter"), "It is discarded, also where it was before.")])
        .refusals(&["dead-letter-ended"]),
    get("/v1/ops/audit", "listAudit", "Read the audit")
        .about("Who did what, from where, why, and with which result. Newest first.")
        .key(Scope::Ops)
        .query(&[
            OF_MERCHANT,
            text("actor", "By this name.", "ops-backend").optional(),
            text("action", "Of this kind.", "refund.request").optional(),
            text("order_no", "Of this order.", "A100001").optional(),
            text("transaction_id", "Of this payment.", "4200002134202611270000000001").optional(),
            text("result", "With this result.", "done").optional(),
            FROM,
            TO,
            AFTER,
            OPS_LIMIT,
        ])
        .answers(&[answer(200, Content::Json("AuditList"), "A page of the audit.")])
        .refusals(&["not-found"]),
    get("/v1/ops/jobs", "listJobs", "List the scheduler's jobs").key(Scope::Ops).answers(&[answer(
        200,
        Content::Json("Jobs"),
        "When each is due, who holds it, how it went.",
    )]),
    post("/v1/ops/jobs/{name}/run", "runJob", "Run a job now")
        .key(Scope::Ops)
        .body("ReasonRequest")
        .answers(&[answer(202, Content::Json("JobRun"), "It is due now, was due before, or is running.")]),
    get("/v1/ops/health", "listDegradations", "List what does not work")
        .about("Merchants and apps whose keys, numbers or certificates WeChat refuses, with what to check.")
        .key(Scope::Ops)
        .answers(&[answer(200, Content::Json("Degradations"), "Empty where all works.")]),
    get("/v1/ops/bus", "getBus", "Read how full the queue is").key(Scope::Ops).answers(&[answer(
        200,
        Content::Json("Bus"),
        "Streams and consumers.",
    )]),
    get("/v1/ops/bus/{stream}/messages", "peekMessages", "Read messages without taking them")
        .key(Scope::Ops)
        .query(&[
            text("consumer", "What this consumer has not acknowledged.", "notify").optional(),
            number("after", "Behind this sequence number.").within(0, i64::MAX).example("0").optional(),
            OPS_LIMIT,
        ])
        .answers(&[answer(200, Content::Json("MessageList"), "Messages, masked.")]),
];

pub const SECTION: Section = Section {
    name: "Operations",
    about: "Notifications, dead letters, jobs, the queue, the audit.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
