//! The ledger, balances, sheets and months.

use super::common::{
    CURRENCY, FROM, LIMIT, MERCHANT, MERCHANT_KEY, NEXT, OF_MERCHANT, OUT_TRADE_NO, TO, TRANSACTION_ID,
};
use crate::config::Scope;
use crate::ops::reports::DayState;
use crate::reference::openapi::field::{
    Field, Names, Shape, fen, flag, names_of, number, object as object_field, objects, of, text, time, word,
};
use crate::reference::openapi::operation::{Content, Object, Operation, Section, answer, get, object, post};

const FORMATS: Names = || vec!["json", "csv", "xlsx"];
const LANGUAGES: Names = || vec!["en", "zh"];
const KINDS: Names = || vec!["payment", "refund"];

const DAY: Field = of(Shape::Day, "day", "A day in Beijing, in the place of `from` and `to`.").optional();
const LANG: Field = word("lang", "The language of a file's heads; `en` where it is left out.", LANGUAGES).optional();
const FORMAT: Field = word("format", "JSON, or a file. `Accept: text/csv` is the same as `csv`.", FORMATS).optional();
const COMPLETE: Field = flag("complete", "Whether no row can be added to the range any more.");
const PERIOD: Content = Content::Json("Period");

const OPERATIONS: &[Operation] = &[
    get("/v1/ledger", "listLedger", "Read the books")
        .about(
            "Every payment, change of class and refund in the order in which they were recorded, each with the balance \
             behind it. A file has all rows; JSON comes in pages.",
        )
        .key(Scope::Finance)
        .query(&[
            MERCHANT,
            DAY,
            FROM,
            TO,
            text("after", "Behind the page whose `next` this is.", "").optional(),
            LIMIT,
            FORMAT,
            LANG,
        ])
        .answers(&[answer(200, Content::JsonOrFile("LedgerPage"), "A page of rows, or all of them as a file.")])
        .refusals(&["not-found"]),
    get("/v1/balances", "listBalances", "Read the balances of a range")
        .about("Per merchant and currency: what was there, what the rows come to, what is there.")
        .key(Scope::Finance)
        .query(&[OF_MERCHANT, DAY, FROM, TO])
        .answers(&[answer(200, Content::Json("Balances"), "The balances.")])
        .refusals(&["not-found"]),
    get("/v1/reports/daily", "getDailyReport", "Read the daily sheet")
        .about(
            "A row for a merchant and a day; days of closed months as they were then. What was recorded in the range \
             about a month that was closed before has rows of its own.",
        )
        .key(Scope::Finance)
        .query(&[
            OF_MERCHANT,
            of(Shape::Day, "from", "The first day, in Beijing."),
            of(Shape::Day, "to", "The last day, three years later at most; `from` where it is left out.").optional(),
            FORMAT,
            LANG,
        ])
        .answers(&[answer(200, Content::JsonOrFile("DailyReport"), "The days, or a file.")])
        .refusals(&["not-found"]),
    get("/v1/reports/{merchant}/{file}", "getDetailReport", "Read the lines of a day as a file")
        .key(Scope::Finance)
        .query(&[
            LANG,
            text("columns", "Further columns between commas, twenty at most: `attach`, `metadata.NAME`.", "attach")
                .optional(),
        ])
        .answers(&[answer(200, Content::File, "The lines of the day.")]),
    get("/v1/periods", "listPeriods", "List closings of months")
        .about("Every closing, also those that were reopened, the newest month first.")
        .key(Scope::Finance)
        .query(&[OF_MERCHANT, of(Shape::Month, "month", "Of this month in Beijing.").optional()])
        .answers(&[answer(200, Content::Json("PeriodList"), "The closings.")])
        .refusals(&["not-found"]),
    get("/v1/periods/{merchant}/{month}", "getPeriod", "Read a month")
        .about("Its figures: frozen where it is closed, of this moment where it is open.")
        .key(Scope::Finance)
        .answers(&[answer(200, PERIOD, "The month.")]),
    post("/v1/periods/{merchant}/{month}/close", "closePeriod", "Close a month")
        .about("Every day has to be balanced or explained. Later facts about its days count in the open month.")
        .key(Scope::Finance)
        .body("ReasonRequest")
        .answers(&[answer(200, PERIOD, "The month with its frozen figures and their hash.")])
        .refusals(&["period-not-over", "period-open-days", "period-out-of-order"]),
    post("/v1/periods/{merchant}/{month}/reopen", "reopenPeriod", "Reopen the last closed month")
        .key(Scope::Admin)
        .body("ReasonRequest")
        .answers(&[answer(200, PERIOD, "The month, open.")])
        .refusals(&["period-not-over", "period-open-days", "period-out-of-order"]),
];

const PAYMENTS: Field = number("payments", "How many payments.");
const PAYMENTS_FEN: Field = fen("payments_fen", "What they come to.");
const REFUNDS: Field = number("refunds", "How many refunds.");
const REFUNDS_FEN: Field = fen("refunds_fen", "What they come to.");
const COUPONS_FEN: Field = fen("coupons_fen", "What coupons paid, by the bill.").or_null();
const FEES: Field = of(Shape::Decimal, "fees", "By the bill, in the currency's main unit.").or_null();
const NET: Field = of(Shape::Decimal, "net", "What is settled, by the bill.").or_null();
const DIFFERENCES_FEN: Field = fen("differences_fen", "What the lines that differ come to.").or_null();

const OBJECTS: &[Object] = &[
    object("LedgerPage", "Rows of the books.", &[objects("rows", "Oldest first.", "LedgerRow"), NEXT, COMPLETE]),
    object(
        "LedgerRow",
        "A row of the books.",
        &[
            text("id", "Unique among the rows.", "p1"),
            time("recorded_at", "When it entered the books: the day that it belongs to."),
            time("occurred_at", "When WeChat took the money, or the payer had it back."),
            word("kind", "Of a payment, or of a refund.", KINDS),
            text("entry", "`payment`, `matched`, `accepted`, `returned` or `refund`.", "payment"),
            text("from_class", "What a change took it from.", "held").or_null(),
            text("class", "What the payment is after it; of a refund, what it was.", "credited"),
            text("reason", "Why it is held.", "late").or_null(),
            MERCHANT_KEY,
            text("order_no", "The order, where there is one.", "A100001").or_null(),
            OUT_TRADE_NO,
            TRANSACTION_ID,
            text("refund_no", "Of a refund.", "R100001").or_null(),
            text("refund_id", "WeChat's number of a refund.", "50300021342026112700000001").or_null(),
            fen("amount_fen", "Of the payment or refund."),
            fen("change_fen", "What the row does to the balance."),
            fen("balance_fen", "Behind the row, per currency."),
            CURRENCY,
            of(Shape::Decimal, "fee", "In yuan, from the bill, as far as it is kept: `reconcile.keep_days`.").or_null(),
            text("evidence", "A source and its id.", "query:A100001").or_null(),
            text("by", "The operator, where there was one.", "ops-backend").or_null(),
            of(Shape::Month, "period", "The month that it counts in."),
            of(Shape::Day, "adjusts", "The day of a closed month that it is about.").or_null(),
        ],
    ),
    object(
        "Balances",
        "Balances of a range.",
        &[objects("balances", "One a merchant and currency.", "Balance"), COMPLETE],
    ),
    object(
        "Balance",
        "Of a merchant and currency.",
        &[
            MERCHANT_KEY,
            CURRENCY,
            time("from", "The beginning of the range."),
            time("to", "Its end; null where it is open.").or_null(),
            fen("opening_fen", "At its beginning."),
            objects("sums", "Its rows by entry and class.", "BalanceSum"),
            fen("closing_fen", "At its end."),
        ],
    ),
    object(
        "BalanceSum",
        "Rows of one kind.",
        &[
            text("entry", "As in the ledger.", "payment"),
            text("from_class", "What a change took them from.", "held").or_null(),
            text("class", "As in the ledger.", "credited"),
            number("rows", "How many."),
            fen("amount_fen", "What they come to."),
            fen("change_fen", "What they do to the balance."),
        ],
    ),
    object(
        "DailyReport",
        "The daily sheet.",
        &[
            objects("days", "Oldest first.", "ReportDay"),
            objects("adjustments", "What was recorded in the range about closed months.", "ReportAdjustment"),
        ],
    ),
    object(
        "ReportAdjustment",
        "What was recorded on a day about a day of a closed month: no day of the report has it.",
        &[
            MERCHANT_KEY,
            of(Shape::Day, "day", "The day of recording, in Beijing."),
            of(Shape::Day, "adjusts", "The day that it is about."),
            CURRENCY,
            PAYMENTS,
            PAYMENTS_FEN,
            REFUNDS,
            REFUNDS_FEN,
        ],
    ),
    object(
        "ReportDay",
        "A day of a merchant, in yuan; `others` has further currencies.",
        &[
            MERCHANT_KEY.optional(),
            of(Shape::Day, "day", "In Beijing, by WeChat's time."),
            PAYMENTS,
            PAYMENTS_FEN,
            REFUNDS,
            REFUNDS_FEN,
            COUPONS_FEN,
            FEES,
            NET,
            number("differences", "Lines that differ, explained or not.").or_null(),
            DIFFERENCES_FEN,
            word("state", "Of its reconciliation.", names_of!(DayState)),
            object_field("explained", "What explains the day in the place of a comparison.", "DayNote").optional(),
            of(Shape::ByName("CurrencyDay"), "others", "By currency.").optional(),
        ],
    ),
    object(
        "CurrencyDay",
        "A day in another currency than yuan.",
        &[PAYMENTS, PAYMENTS_FEN, REFUNDS, REFUNDS_FEN, COUPONS_FEN, FEES, NET, DIFFERENCES_FEN],
    ),
    object("PeriodList", "Closings of months.", &[objects("periods", "The newest month first.", "PeriodClosing")]),
    object("PeriodClosing", "A closing.", &CLOSING),
    object(
        "Period",
        "A month. Members of a closing are there where it is closed.",
        &[
            object_field("figures", "The hash is of these bytes, as they are in the answer.", "PeriodFigures"),
            CLOSING[0],
            CLOSING[1],
            CLOSING[2],
            CLOSING[3].optional(),
            CLOSING[4].optional(),
            CLOSING[5].optional(),
            CLOSING[6].optional(),
            CLOSING[7].optional(),
            CLOSING[8].optional(),
            CLOSING[9].optional(),
            CLOSING[10].optional(),
            objects("reopened", "Closings of it that were reopened.", "PeriodClosing"),
            objects("adjustments", "What counts in it and is about closed months, 10,000 at most.", "Adjustment"),
            of(Shape::ByName("CurrencySums"), "adjustments_by_currency", "What all of them come to."),
        ],
    ),
    object(
        "PeriodFigures",
        "The sums of a month in yuan, and its days.",
        &[
            PAYMENTS,
            PAYMENTS_FEN,
            REFUNDS,
            REFUNDS_FEN,
            of(Shape::ByName("CurrencySums"), "others", "By currency.").optional(),
            objects("days", "Oldest first.", "ReportDay"),
        ],
    ),
    object("CurrencySums", "Sums in one currency.", &[PAYMENTS, PAYMENTS_FEN, REFUNDS, REFUNDS_FEN]),
    object(
        "Adjustment",
        "A fact that became known after its month was closed.",
        &[
            of(Shape::Day, "adjusts", "The day that it is about."),
            word("kind", "Of a payment, or of a refund.", KINDS),
            text("order_no", "The order, where there is one.", "A100001").or_null(),
            text("number", "WeChat's number of the payment, or the number of the refund.", "R100001"),
            fen("amount_fen", "A refund is negative."),
            CURRENCY,
            time("recorded_at", "When it became known."),
        ],
    ),
];

const STATES: Names = || vec!["open", "closed", "reopened"];

const CLOSING: [Field; 11] = [
    MERCHANT_KEY,
    of(Shape::Month, "month", "In Beijing."),
    word("state", "Whether it is open, closed, or was reopened.", STATES),
    time("closed_at", "When."),
    text("closed_by", "Who.", "finance-backend"),
    text("reason", "Why.", "Month-end"),
    time("recorded_before", "What was recorded before this counts."),
    text("hash", "SHA-256 of the figures' bytes, in hex.", "2c26b46b68ffc68f"),
    time("reopened_at", "When it was reopened.").or_null(),
    text("reopened_by", "Who reopened it.", "admin").or_null(),
    text("reopen_reason", "Why.", "A bill was corrected").or_null(),
];

pub const SECTION: Section = Section {
    name: "Books",
    about: "The ledger, balances, sheets and months. Days and months are Beijing's.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
