//! API keys, and what is done to one payer.

use super::common::{AFTER, NEXT, OPS_LIMIT, REASON};
use crate::config::{ApiKey, Scope};
use crate::ops::keys::KeySource;
use crate::reference::openapi::field::{Field, Shape, fen, names_of, number, objects, of, text, time, word};
use crate::reference::openapi::operation::{Content, Object, Operation, Section, answer, get, object, post, request};
use crate::store::ErasureState;

const OPERATIONS: &[Operation] = &[
    get("/v1/ops/keys", "listKeys", "List API keys")
        .about("Those of the configuration first, then those of the database, newest first.")
        .key(Scope::Admin)
        .query(&[AFTER, OPS_LIMIT])
        .answers(&[answer(200, Content::Json("KeyList"), "A page of keys, without the keys themselves.")]),
    post("/v1/ops/keys", "createKey", "Make an API key")
        .about("The answer has the key, which no later answer has. It can do no more than the key that makes it.")
        .key(Scope::Admin)
        .body("KeyRequest")
        .answers(&[answer(201, Content::Json("ApiKey"), "The key.")])
        .refusals(&["grant-exceeds", "key-name-taken", "not-found"]),
    post("/v1/ops/keys/{id}/revoke", "revokeKey", "Revoke an API key")
        .key(Scope::Admin)
        .body("ReasonRequest")
        .answers(&[answer(200, Content::Json("ApiKey"), "No process accepts it any more within seconds.")]),
    post("/v1/ops/sessions/end", "endSessions", "End a payer's sessions")
        .about("All that began until now, on all of the payer's devices. The payer may log in again.")
        .key(Scope::Ops)
        .body("EndSessionsRequest")
        .answers(&[answer(200, Content::Json("EndedSessions"), "No process accepts them any more.")])
        .refusals(&["not-found"]),
    post("/v1/ops/erasures", "erasePayer", "Erase what is kept of a payer")
        .about(
            "Ends the payer's sessions at once; the rest is done in the background. What came after the request stays, \
             orders that may still be paid are waited for. Asked again before it has ended, it begins anew. A payer \
             who is not known under the app is not found.",
        )
        .key(Scope::Ops)
        .body("ErasureRequest")
        .answers(&[answer(202, Content::Json("Erasure"), "It is recorded.")])
        .refusals(&["not-found"]),
    get("/v1/ops/erasures", "listErasures", "List erasures")
        .about("Newest first, of apps all of whose merchants the API key sees.")
        .key(Scope::Ops)
        .query(&[AFTER, OPS_LIMIT])
        .answers(&[answer(200, Content::Json("ErasureList"), "A page of erasures.")]),
    get("/v1/ops/erasures/{id}", "getErasure", "Read how far an erasure is")
        .key(Scope::Ops)
        .answers(&[answer(200, Content::Json("Erasure"), "The erasure.")])
        .refusals(&["not-found"]),
];

const SCOPES: Field = of(Shape::Words(names_of!(Scope)), "scopes", "What it may do.").example("[\"orders\"]");
const MERCHANTS: Field = of(Shape::Any, "merchants", "\"all\", or a list of merchants' keys.").example("[\"main\"]");
/// The largest refund cap, as in the configuration.
const CAP_MAX: i64 = i64::MAX / 4;
const CAP: Field = fen("refund_cap_fen_per_day", "What it may ask to be refunded on a day in Beijing, in fen.");
const RATE: Field = number("rate_limit_per_second", "Requests a second, per process.");

const APP: Field = text("app", "The key of the app; may be left out where there is one.", "shop")
    .bytes(32)
    .pattern("^[0-9a-z-]+$")
    .optional();
const OPENID: Field =
    text("openid", "The payer under that app.", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o").bytes(128).pattern("^[0-9A-Za-z_-]+$");

const OBJECTS: &[Object] = &[
    request(
        "KeyRequest",
        "A new key.",
        &[
            text("name", "Visible ASCII characters.", "shop-backend-2").bytes(64).pattern("^[!-~]+$"),
            text("client", "The id of a key that it replaces: idempotency keys and refund caps go on.", "shop-backend")
                .optional(),
            SCOPES.within(1, i64::MAX),
            MERCHANTS.optional(),
            time("expires_at", "In the future; never where it is left out.").example("2099-01-31T00:00:00Z").optional(),
            CAP.within(1, CAP_MAX).optional(),
            RATE.within(1, ApiKey::RATE_MAX).optional(),
            REASON,
        ],
    ),
    request("EndSessionsRequest", "Whose sessions end.", &[APP, OPENID, REASON]),
    request("ErasureRequest", "Who is erased.", &[APP, OPENID, REASON]),
    object(
        "Erasure",
        "The erasure of one payer.",
        &[
            number("id", "Its id."),
            word("state", "`waiting`: something of the payer is still needed.", names_of!(ErasureState)),
            text("app", "The key of the app.", "shop"),
            text("payer", "What stands where the openid stood: a keyed hash.", "payer-Zm9vYmFyYmF6cXV4cXV1eA"),
            text("reason", "Why.", "The payer asked for it"),
            text("asked_by", "Who asked.", "support"),
            time("asked_at", "What came later is not erased."),
            number("changed", "Rows without the payer since then."),
            number("removed", "Rows that are gone."),
            of(Shape::Counts, "waits_for", "What the last way through the tables left, by kind.")
                .example("{\"orders\": 1}"),
            text("error", "Why its last step failed; it is done again later.", "the database is busy").or_null(),
            time("next_at", "When it goes on.").or_null(),
            time("ended_at", "Since when nothing of the payer is left.").or_null(),
        ],
    ),
    object("ErasureList", "A page of erasures.", &[objects("erasures", "Newest first.", "Erasure"), NEXT]),
    object(
        "EndedSessions",
        "What ended.",
        &[text("app", "The key of the app.", "shop"), time("ended_at", "Sessions that began later count.")],
    ),
    object(
        "ApiKey",
        "A key as operators see it.",
        &[
            text("key", "Only in the answer that made it.", "wxk_q0b6uS2rJ4").optional(),
            text("id", "Its id in lists and paths.", "shop-backend"),
            text("client", "Idempotency keys and refund caps belong to it.", "shop-backend"),
            text("name", "Its name.", "shop-backend"),
            word("source", "The configuration, or the database.", names_of!(KeySource)),
            SCOPES,
            MERCHANTS,
            time("expires_at", "When the last of its keys ends.").or_null(),
            CAP.or_null(),
            RATE.or_null(),
            time("created_at", "When it was made.").or_null(),
            text("created_by", "Who made it.", "admin").or_null(),
            time("last_used_at", "To the minute.").or_null(),
            time("revoked_at", "When it was revoked.").or_null(),
            text("revoked_by", "Who revoked it.", "admin").or_null(),
            text("revoked_reason", "Why.", "It leaked").or_null(),
            objects("hashes", "The keys that count at the same time while one replaces another.", "KeyHash"),
        ],
    ),
    object(
        "KeyHash",
        "A key by the beginning of its hash.",
        &[
            text("hash", "The beginning of its SHA-256.", "sha256:2c26b46b68ff"),
            time("until", "Until when it is accepted.").or_null(),
            time("last_used_at", "To the minute.").or_null(),
            time("revoked_at", "When it was revoked.").or_null(),
        ],
    ),
    object("KeyList", "A page of keys.", &[objects("keys", "Those of the configuration first.", "ApiKey"), NEXT]),
];

pub const SECTION: Section = Section {
    name: "API keys",
    about: "Making and revoking keys, for keys with the scope `admin`; ending the sessions of a payer, and erasing it.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
