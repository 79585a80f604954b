//! The feed of events.

use crate::config::Scope;
use crate::http::ENTITY_FACTS;
use crate::reference::openapi::field::{Names, Shape, number, objects, of, text, time, word};
use crate::reference::openapi::operation::{Content, Object, Operation, Section, answer, get, object};

/// The types as events have them. Names live as long as the program, which has few.
const EVENT_TYPES: Names = || {
    static NAMES: std::sync::LazyLock<Vec<String>> =
        std::sync::LazyLock::new(|| ENTITY_FACTS.iter().map(|fact| format!("wxpay.{fact}.v1")).collect());
    NAMES.iter().map(String::as_str).collect()
};

const OPERATIONS: &[Operation] = &[get("/v1/events", "listEvents", "Read the events in order")
    .about(
        "At least once: keep `next` after a page was processed, and drop events whose `id` is known. An empty page has \
         a `next`, too. Where a cursor is refused with 410, begin again without `after`.",
    )
    .key(Scope::Finance)
    .query(&[
        text("after", "The `next` of an earlier page. Left out: from the oldest event that is kept.", "").optional(),
        time("since", "Events of this time or later.").optional(),
        time("until", "Events before this time; not before `since`.").optional(),
        text("types", "Types between commas, `order.paid` or `wxpay.order.paid.v1`.", "order.paid,order.closed")
            .optional(),
        number("limit", "Events a page; 100 where it is left out.").within(1, 1000).optional(),
        number("wait", "Seconds to wait for an event where there is none yet.").within(0, 30).example("0").optional(),
    ])
    .answers(&[answer(200, Content::Json("EventPage"), "A page of events.")])
    .refusals(&["cursor-expired", "cursor-foreign"])];

const OBJECTS: &[Object] = &[
    object(
        "EventPage",
        "Events in the order of the feed.",
        &[
            objects("events", "Oldest first.", "Event"),
            text("next", "Give it as `after` for the next page.", "YzEuMTIu"),
        ],
    ),
    object(
        "Event",
        "CloudEvents 1.0, as NATS and webhooks have it. Each type has a JSON Schema in docs/events.",
        &[
            text("specversion", "1.0.", "1.0"),
            text("id", "Unique for ever: dedupe on it.", "01a2031c-17a1-7399-8167-ed727ae0ac0d"),
            text("source", "`wxpay/` and the merchant's key.", "wxpay/main"),
            word("type", "The entity and what happened to it.", EVENT_TYPES),
            text("subject", "The order, where the event is about one.", "A100001").optional(),
            time("time", "When it happened here."),
            text("datacontenttype", "Of `data`.", "application/json"),
            of(Shape::Json, "data", "What happened, as the schema of its type says."),
        ],
    ),
];

pub const SECTION: Section = Section {
    name: "Events",
    about: "What happened, in order, for those without NATS.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
