//! WeChat's notifications, health, metrics, and this documentation.

use crate::config::Scope;
use crate::reference::openapi::field::{flag, objects, text};
use crate::reference::openapi::operation::{
    Access, Answer, Content, Object, Operation, Section, answer, get, object, post,
};

/// Every answer to WeChat is its own XML; after FAIL, and after any other status than 200, it repeats.
const ACKNOWLEDGEMENTS: &[Answer] = &[
    answer(200, Content::Xml, "SUCCESS once the notification is durable; FAIL where it does not verify."),
    answer(400, Content::Xml, "FAIL: the body ends before its stated end."),
    answer(404, Content::Xml, "FAIL: there is no such merchant."),
    answer(408, Content::Xml, "FAIL: the body did not arrive in time."),
    answer(413, Content::Xml, "FAIL: the body is larger than 64 KiB."),
    answer(415, Content::Xml, "FAIL: the body is compressed."),
    answer(503, Content::Xml, "FAIL: it could not be stored, or its key is not configured."),
];

const NOTIFIED: &[Operation] = &[
    post("/notify/{merchant}/pay", "notifyPayment", "Receive a payment's result")
        .about("WeChat posts here. A refund's result is taken, too.")
        .access(Access::Wechat)
        .answers(ACKNOWLEDGEMENTS),
    post("/notify/{merchant}/refund", "notifyRefund", "Receive a refund's result")
        .about("WeChat posts here. A payment's result is taken, too.")
        .access(Access::Wechat)
        .answers(ACKNOWLEDGEMENTS),
    post("/api/wechat/pay/callback", "notifyFirstMerchant", "Receive a payment's result of the first merchant")
        .about("The same under the path of the usual tutorial.")
        .access(Access::Wechat)
        .answers(ACKNOWLEDGEMENTS),
];

const HTML: Content = Content::Text("text/html");

const OPERATIONS: &[Operation] = &[
    get("/healthz", "getLiveness", "Whether the process is alive").about("Asks no dependency.").answers(&[answer(
        200,
        Content::Text("text/plain"),
        "It is.",
    )]),
    get("/readyz", "getReadiness", "Whether the process can take work")
        .about(
            "On the public listener the checks are shown to processes of this host and to API keys of scope `ops` that \
             see every merchant.",
        )
        .access(Access::More(Scope::Ops))
        .answers(&[
            answer(200, Content::Json("Readiness"), "It can."),
            answer(503, Content::Json("Readiness"), "It cannot."),
        ]),
    get("/metrics", "getMetrics", "Read the metrics")
        .about("In Prometheus' text format. An API key must see every merchant.")
        .access(Access::Insider(Scope::Ops))
        .answers(&[answer(200, Content::Text("text/plain"), "The metrics.")]),
    get("/openapi.json", "getOpenapi", "Read this document")
        .answers(&[answer(200, Content::Text("application/json"), "OpenAPI 3.1.")])
        .kept(),
    get("/docs", "getDocs", "Browse this document").answers(&[answer(200, HTML, "Swagger UI.")]).kept(),
    get("/docs/{name}", "getDocsFile", "Read a file of that page")
        .answers(&[answer(200, Content::Text("*/*"), "Script, style or licences.")])
        .kept(),
    get("/problems", "listProblems", "Browse the problems").answers(&[answer(200, HTML, "All of them.")]).kept(),
    get("/problems/{name}", "getProblem", "Browse a problem")
        .about("What the member `docs` of a refusal names. Also on `server.admin_listen`.")
        .answers(&[answer(200, HTML, "What it means and what to do.")])
        .kept(),
];

const OBJECTS: &[Object] = &[
    object(
        "Readiness",
        "Whether the process can take work.",
        &[
            flag("ready", "Whether it can."),
            objects("checks", "For those who may see them.", "Check").optional(),
            text("config_hash", "Of the configuration in force.", "2c26b46b68ff").optional(),
        ],
    ),
    object(
        "Check",
        "One of the checks.",
        &[
            text("name", "Its name.", "database"),
            flag("ok", "Whether it holds."),
            text("reason", "Why; a stable word where a program chose it.", "does not answer").or_null(),
        ],
    ),
];

pub const NOTIFICATIONS: Section =
    Section { name: "Notifications", about: "What WeChat posts.", operations: NOTIFIED, objects: &[] };

pub const SERVICE: Section = Section {
    name: "Service",
    about: "Health, metrics, and this documentation. With `server.admin_listen` the first three are there alone.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
