//! Replays of notifications, dead letters, events and webhooks.

use super::common::{AFTER, NEXT, OPS_LIMIT, REASON};
use crate::config::Scope;
use crate::ops::replay::MAX_RATE;
use crate::reference::openapi::field::{
    Field, Shape, flag, names_of, number, object as object_field, objects, of, text, time, word,
};
use crate::reference::openapi::operation::{
    Content, Object, Operation, Section, answer, get, located, object, post, request,
};
use crate::store::{Predicted, ReplayKind, ReplayResult, ReplaySource, ReplayState};

const REPLAY: Content = Content::Json("Replay");
/// A state that does not allow it.
const STATE: &[&str] = &["replay-state"];

const OPERATIONS: &[Operation] = &[
    post("/v1/ops/replays", "planReplay", "Plan a replay")
        .about("Changes nothing: the plan fixes what would be replayed and predicts what each item would come to.")
        .key(Scope::Ops)
        .body("ReplayRequest")
        .answers(&[located(201, REPLAY, "The plan.")])
        .refusals(&["not-found"]),
    get("/v1/ops/replays", "listReplays", "List replays")
        .about("Newest first.")
        .key(Scope::Ops)
        .query(&[word("state", "In this state.", names_of!(ReplayState)).optional(), AFTER, OPS_LIMIT])
        .answers(&[answer(200, Content::Json("ReplayList"), "A page of replays, without their counts.")]),
    get("/v1/ops/replays/{id}", "getReplay", "Read a replay").key(Scope::Ops).answers(&[answer(
        200,
        REPLAY,
        "How far it is.",
    )]),
    get("/v1/ops/replays/{id}/items", "listReplayItems", "List the items of a replay")
        .key(Scope::Ops)
        .query(&[word("result", "With this result.", names_of!(ReplayResult)).optional(), AFTER, OPS_LIMIT])
        .answers(&[answer(200, Content::Json("ReplayItemList"), "A page of items.")]),
    post("/v1/ops/replays/{id}/start", "startReplay", "Start a planned replay")
        .about("`changed` lists what is predicted otherwise than when it was planned.")
        .key(Scope::Ops)
        .answers(&[answer(202, REPLAY, "It runs in the background.")])
        .refusals(STATE),
    post("/v1/ops/replays/{id}/pause", "pauseReplay", "Pause a replay")
        .key(Scope::Ops)
        .answers(&[answer(200, REPLAY, "It is paused.")])
        .refusals(STATE),
    post("/v1/ops/replays/{id}/resume", "resumeReplay", "Resume a replay")
        .key(Scope::Ops)
        .answers(&[answer(200, REPLAY, "It runs.")])
        .refusals(STATE),
    post("/v1/ops/replays/{id}/cancel", "cancelReplay", "Cancel a replay")
        .key(Scope::Ops)
        .answers(&[answer(200, REPLAY, "What was not replayed stays as it is.")])
        .refusals(STATE),
];

const N: Field = number("n", "The item's place in the plan.");

const OBJECTS: &[Object] = &[
    request(
        "ReplayRequest",
        "Which rows, why, and how fast.",
        &[
            object_field("select", "Which rows.", "ReplaySelect"),
            REASON,
            number("rate_per_second", "Items a second; 50 where it is left out.").within(1, MAX_RATE as i64).optional(),
        ],
    ),
    request(
        "ReplaySelect",
        "At most 50,000 rows.",
        &[
            word("kind", "What is replayed.", names_of!(ReplayKind)),
            of(Shape::Texts, "ids", "These alone.").within(1, 1000).example("[\"17\"]").optional(),
            flag("refused", "Of notifications: those that did not verify when they came.").optional(),
            text("merchant", "Of this merchant.", "main").bytes(64).optional(),
            text("reason_class", "Of this reason; not of events.", "unknown_order").bytes(64).optional(),
            text("order_no", "Of this order.", "A100001").bytes(32).pattern("^[0-9A-Za-z_-]+$").optional(),
            time("from", "At this time or later.").optional(),
            time("to", "Before this time.").optional(),
        ],
    ),
    object(
        "Replay",
        "Members about progress are not in lists.",
        &[
            text("id", "Its id in lists and paths.", "01a2031c-1799-7669-acdd-0b9870d5a07f"),
            word("kind", "What is replayed.", names_of!(ReplayKind)),
            word("state", "How it stands.", names_of!(ReplayState)),
            number("total", "Items."),
            number("to_do", "Items that would settle something.").optional(),
            object_field("predicted", "What it would come to.", "ReplayPrediction").optional(),
            number("done", "Items.").example("0").optional(),
            object_field("results", "What it came to so far.", "ReplayResults").optional(),
            text("reason", "Why; a stable word where a program chose it.", "The key was wrong"),
            number("rate_per_second", "Items a second.").example("50"),
            of(Shape::Any, "select", "As it was asked for."),
            text("planned_by", "Who planned it.", "ops-backend"),
            text("started_by", "Who started it.", "ops-backend").or_null(),
            time("created_at", "When it was planned."),
            time("started_at", "When it began.").or_null(),
            time("ended_at", "When it ended.").or_null(),
            objects("changed", "In the answer that started it.", "ReplayChange").optional(),
        ],
    ),
    object(
        "ReplayPrediction",
        "Counts of items.",
        &[
            number("would_settle", "Items that would change something."),
            number("no_op", "Items that change nothing."),
            of(Shape::Counts, "still_fails", "By reason.").example("{}"),
        ],
    ),
    object(
        "ReplayResults",
        "Counts of items.",
        &[
            number("settled", "Items that changed something."),
            number("no_op", "Items that change nothing."),
            of(Shape::Counts, "failed", "By reason.").example("{}"),
        ],
    ),
    object(
        "ReplayChange",
        "What is predicted otherwise by now.",
        &[N, text("was", "When it was planned.", "would_settle"), text("now", "When it was started.", "no_op")],
    ),
    object("ReplayList", "A page of replays.", &[objects("replays", "Newest first.", "Replay"), NEXT]),
    object("ReplayItemList", "A page of items.", &[objects("items", "In their order.", "ReplayItem"), NEXT]),
    object(
        "ReplayItem",
        "A row that is replayed.",
        &[
            N,
            word("source", "The table that it is in.", names_of!(ReplaySource)),
            text("id", "Its id there.", "17"),
            text("merchant", "The merchant's key.", "main").or_null(),
            text("out_trade_no", "The attempt's number at WeChat.", "A100001").or_null(),
            word("predicted", "What it would come to.", names_of!(Predicted)),
            text("predicted_reason", "Why it would fail.", "unknown_order").or_null(),
            word("result", "What came of it.", names_of!(ReplayResult)).or_null(),
            text("reason", "Why; a stable word where a program chose it.", "unknown_order").or_null(),
            text("error", "In the words of the log.", "order not found").or_null(),
            time("done_at", "When it was replayed.").or_null(),
        ],
    ),
];

pub const SECTION: Section = Section {
    name: "Replays",
    about: "A plan first; then what was planned, at a limited rate.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
