//! Bills against the books.

use super::common::{LIMIT, MERCHANT_KEY, NEXT, OF_MERCHANT, TRANSACTION_ID};
use crate::config::Scope;
use crate::ops::reconciliation::{BillOf, Mend};
use crate::reconciliation::{DayState, LineClass, LineKind, Resolution};
use crate::reference::openapi::field::{
    Field, Names, Shape, fen, flag, flag_01, names_of, number, object as object_field, objects, of, text, time, word,
};
use crate::reference::openapi::operation::{
    Content, Object, Operation, Section, answer, get, located, object, post, request,
};
use crate::store::RepairState;

const STATES: Names = || vec!["pending", "running", "failed", "balanced", "explained", "red"];
const DAY: Content = Content::Json("Reconciliation");
const NOTE_MAX_BYTES: usize = 500;
const CURSOR: Field = text("after", "Behind the page whose `next` this is.", "").optional();

const OPERATIONS: &[Operation] = &[
    post("/v1/reconciliations", "runReconciliation", "Compare a day with WeChat's bill")
        .about("Runs once however often it is asked for.")
        .key(Scope::Finance)
        .body("ReconciliationRequest")
        .answers(&[located(202, DAY, "The day, which will be compared.")])
        .refusals(&["not-found", "bill-not-kept"]),
    get("/v1/reconciliations", "listReconciliations", "List days")
        .about("The newest day first.")
        .key(Scope::Finance)
        .query(&[
            OF_MERCHANT,
            of(Shape::Day, "from", "This day or later, in Beijing.").optional(),
            of(Shape::Day, "to", "This day or earlier; not before `from`.").optional(),
            flag_01("red", "1 lists days with open lines or a remainder alone."),
            CURSOR,
            LIMIT,
        ])
        .answers(&[answer(200, Content::Json("ReconciliationList"), "A page of days.")])
        .refusals(&["not-found"]),
    get("/v1/reconciliations/{merchant}/{date}", "getReconciliation", "Read a day")
        .about("With `.csv` or `.xlsx` behind the date: the lines of the day as a file.")
        .key(Scope::Finance)
        .query(&[
            word("lang", "Of a file: the language of its heads.", || vec!["en", "zh"]).optional(),
            text("columns", "Of a file: further columns between commas, `attach` or `metadata.NAME`.", "").optional(),
        ])
        .answers(&[answer(200, Content::JsonOrFile("Reconciliation"), "The day, or a file.")]),
    post("/v1/reconciliations/{merchant}/{date}/explain", "explainDay", "Explain a day that WeChat no longer has")
        .about(
            "Of a day that is older than the bills which WeChat keeps, is neither balanced nor explained, and has no \
             open lines: its month can be closed then. The note is in the audit, and in the figures of the closing.",
        )
        .key(Scope::Finance)
        .body("DayNoteRequest")
        .answers(&[answer(200, DAY, "The day, explained.")])
        .refusals(&["bill-kept", "day-not-open"]),
    get("/v1/reconciliations/{merchant}/{date}/lines", "listLines", "List the lines of a day")
        .about("Differences and carried rows; matched ones are counted, not kept.")
        .key(Scope::Finance)
        .query(&[word("class", "Of this class.", names_of!(LineClass)).optional(), CURSOR, LIMIT])
        .answers(&[answer(200, Content::Json("LineList"), "A page of lines.")]),
    post("/v1/reconciliations/{merchant}/{date}/lines/{id}/resolve", "resolveLine", "Explain a line")
        .key(Scope::Finance)
        .body("NoteRequest")
        .answers(&[answer(200, Content::Json("Line"), "The line, explained.")])
        .refusals(&["line-not-open"]),
    post("/v1/reconciliations/{merchant}/{date}/repair", "repairDay", "Plan or carry out the repair of a day")
        .about(
            "A page of the plan, unless `dry_run` is false: then the first lines are repaired now, the rest in \
              the background.",
        )
        .key(Scope::Finance)
        .optional_body("RepairRequest")
        .answers(&[answer(200, Content::Json("RepairAnswer"), "The plan, or what was done.")]),
    post("/v1/reconciliations/{merchant}/{date}/repair/stop", "stopRepair", "Stop the repair of a day")
        .about("What was done stays. One that is over stays as it is.")
        .key(Scope::Finance)
        .body("StopRequest")
        .answers(&[answer(200, Content::Json("StoppedRepair"), "How far it came.")]),
    get("/v1/reconciliations/{merchant}/{date}/bill", "getBill", "Download a bill of WeChat's")
        .about("As WeChat gives it, uncompressed and complete before its first byte.")
        .key(Scope::Finance)
        .query(
            &[word("type", "Of trades, or of an account; `all` where it is left out.", names_of!(BillOf)).optional()],
        )
        .answers(&[answer(200, Content::Text("text/csv"), "The bill.")])
        .refusals(&["no-bill", "bill-not-kept"]),
];

const LEDGER_FIGURES: [Field; 5] = [
    number("rows", "How many rows."),
    number("payments", "How many payments."),
    number("refunds", "How many refunds."),
    fen("payments_fen", "What they come to."),
    fen("refunds_fen", "What they come to."),
];

const ORDER_NO: Field = text("order_no", "The order, where there is one.", "A100001").or_null();

const LINE: &[Field] = &[
    number("id", "Of this day's result."),
    word("class", "Which difference it is.", names_of!(LineClass)),
    word("kind", "Of a payment, or of a refund.", names_of!(LineKind)),
    TRANSACTION_ID,
    text("out_trade_no", "The attempt's number at WeChat.", "A100001").or_null(),
    text("refund_no", "The number of a refund.", "R100001").or_null(),
    text("refund_id", "WeChat's number of a refund.", "50300021342026112700000001").or_null(),
    ORDER_NO,
    object_field("bill", "The bill's side.", "BillSide").or_null(),
    object_field("ledger", "Our side.", "LedgerSide").or_null(),
    of(Shape::Decimal, "expected_fee", "What the fee should be, in yuan.").or_null(),
    of(Shape::Decimal, "booked_fee", "What was booked on the account, in yuan.").or_null(),
    of(Shape::Day, "other_day", "Of a carried line: the day on which the other side has it.").or_null(),
    fen("explains_fen", "The bill's amount less ours, in yuan's fen."),
    of(Shape::Counts, "explains", "The same per currency.").example("{\"CNY\": 100}"),
    time("asked_at", "When WeChat was asked about it.").or_null(),
    text("said", "What WeChat said that does not repair it.", "ORDERNOTEXIST").or_null(),
    word("resolution", "Whether it is explained, and how.", names_of!(Resolution)),
    text("rule", "The rule that covers it.", "reversed").or_null(),
    text("note", "What a person said.", "Paid out by hand").or_null(),
    text("resolved_by", "Who.", "finance-backend").or_null(),
    time("resolved_at", "When.").or_null(),
];

const OBJECTS: &[Object] = &[
    request(
        "ReconciliationRequest",
        "Which day.",
        &[
            text("merchant", "The merchant's key. Required where the API key sees several.", "main").optional(),
            of(Shape::Day, "date", "In Beijing; over, and of the last three months."),
        ],
    ),
    request(
        "NoteRequest",
        "Why the sides differ.",
        &[text("note", "Stands with the line.", "Paid out by hand").bytes(NOTE_MAX_BYTES)],
    ),
    request(
        "DayNoteRequest",
        "Why the day can be closed without a comparison.",
        &[text("note", "Stands with the day.", "Compared by hand with the bank's statement").bytes(NOTE_MAX_BYTES)],
    ),
    request(
        "StopRequest",
        "Why the repair is stopped.",
        &[text("reason", "Stands in the audit.", "The wrong day").bytes(NOTE_MAX_BYTES)],
    ),
    request(
        "RepairRequest",
        "Left out: a plan of the whole day.",
        &[
            flag("dry_run", "False carries the repair out; true where it is left out.").optional(),
            number("line", "This line alone.").optional(),
            number("after", "Behind which line a page of the plan begins; of plans alone.").optional(),
            text("reason", "Required where `dry_run` is false.", "Missed over the weekend")
                .bytes(NOTE_MAX_BYTES)
                .optional(),
        ],
    ),
    object(
        "ReconciliationList",
        "A page of days.",
        &[objects("reconciliations", "The newest day first.", "Reconciliation"), NEXT],
    ),
    object(
        "Reconciliation",
        "A day. Amounts are in yuan's fen; `others` has further currencies, and nothing is added up across them.",
        &[
            MERCHANT_KEY,
            of(Shape::Day, "date", "In Beijing."),
            word("state", "What is being done, or how the result stands.", STATES),
            word("result", "How the newest result stands, whatever is being done.", names_of!(DayState)).or_null(),
            text("error", "Why the last run failed.", "no bill yet").or_null(),
            object_field("explained", "What explains the day in the place of a comparison.", "DayNote").or_null(),
            object_field("bill", "The bill's side.", "BillFigures").or_null(),
            object_field("ledger", "Our side.", "LedgerFigures").or_null(),
            of(Shape::ByName("CurrencyFigures"), "others", "By currency."),
            of(Shape::Counts, "classes", "Lines by class."),
            flag("mixed_currencies", "Sums of several currencies that an earlier version added up are not given.")
                .optional(),
            fen("unexplained_fen", "What remains: the bill less the explained less ours.").example("0").or_null(),
            number("differences", "Lines that must be explained.").example("0"),
            fen("difference_fen", "What they come to, whatever the direction.").example("0").or_null(),
            number("open", "Of them, how many are open.").example("0"),
            object_field("loops", "Which comparisons hold.", "Loops").or_null(),
            text("bill_sha256", "Of the bill's bytes.", "2c26b46b68ffc68f").or_null(),
            text("asked_by", "Who asked for the run.", "scheduler").or_null(),
            time("asked_at", "When."),
            time("started_at", "Of the last run.").or_null(),
            time("finished_at", "Of the last run.").or_null(),
            time("next_try_at", "When it runs next by itself.").or_null(),
            object_field("repair", "The newest repair; not in lists.", "Repair").optional(),
        ],
    ),
    object(
        "DayNote",
        "A note that explains a day as a whole.",
        &[
            text("note", "What a person said.", "Compared by hand with the bank's statement"),
            text("by", "Who.", "finance-backend"),
            time("at", "When."),
        ],
    ),
    object(
        "BillFigures",
        "The bill's sums.",
        &[
            LEDGER_FIGURES[0],
            LEDGER_FIGURES[1],
            LEDGER_FIGURES[2],
            LEDGER_FIGURES[3],
            LEDGER_FIGURES[4],
            fen("coupons_fen", "What coupons paid of the payments.").example("0"),
            fen("settlement_fen", "What is settled before fees."),
            of(Shape::Decimal, "fees", "In yuan, as in the bill.").example("0.00600"),
        ],
    ),
    object("LedgerFigures", "Our sums.", &LEDGER_FIGURES),
    object(
        "CurrencyFigures",
        "Both sides in one currency.",
        &[
            object_field("bill", "The bill's side.", "BillFigures"),
            object_field("ledger", "Our side.", "LedgerFigures"),
            fen("unexplained_fen", "What remains.").example("0"),
            fen("difference_fen", "What the lines come to.").example("0"),
        ],
    ),
    object(
        "Loops",
        "Which of the three comparisons hold.",
        &[
            object_field("trades", "Trades and our books.", "TradesLoop"),
            object_field("funds", "The account; null where its bill was not fetched.", "FundsLoop").or_null(),
            text("funds_error", "Why it was not.", "no certificate").or_null(),
        ],
    ),
    object("TradesLoop", "Trades and our books.", &[flag("holds", "Nothing is open and nothing remains.")]),
    object(
        "FundsLoop",
        "Amounts in fen.",
        &[
            fen("expected_fen", "Trades less refunds less fees, by the trade bill."),
            fen("booked_fen", "The same, as booked."),
            flag("holds", "Whether both are the same."),
            number("entries", "Of the account."),
            fen("income_fen", "What came in."),
            fen("expense_fen", "What went out."),
            fen("other_fen", "Booked for other reasons, as withdrawals."),
            fen("opening_fen", "The balance before.").or_null(),
            fen("closing_fen", "The balance after.").or_null(),
            flag("balance_holds", "Whether the closing balance is the opening one with all entries.").or_null(),
        ],
    ),
    object(
        "Repair",
        "How far a repair is.",
        &[
            word("state", "How it stands.", names_of!(RepairState)),
            number("lines", "Of the repair."),
            number("done", "So far."),
            number("repaired", "In the books now."),
            number("asked", "WeChat was asked about them."),
            number("waits_for", "Asked about, and their money is not in the books yet."),
            number("tries", "Comparisons since."),
            time("next_at", "The next one.").or_null(),
            text("reason", "As it was given.", "Missed over the weekend"),
            text("asked_by", "Who.", "finance-backend"),
            time("started_at", "When it began."),
            time("updated_at", "When it changed last."),
            text("stopped_by", "Who stopped it.", "finance-backend").or_null(),
            time("stopped_at", "When it was stopped.").or_null(),
        ],
    ),
    object(
        "StoppedRepair",
        "A repair that is over.",
        &[object_field("repair", "How far it came.", "Repair").or_null()],
    ),
    object("LineList", "A page of lines.", &[objects("lines", "In the order of their ids.", "Line"), NEXT]),
    object("Line", "A difference, or a carried row.", LINE),
    object(
        "BillSide",
        "The bill's side of a line.",
        &[
            fen("amount_fen", "In the currency's smallest unit."),
            text("currency", "As WeChat names it.", "CNY").or_null(),
            fen("settlement_fen", "What is settled of it.").or_null(),
            of(Shape::Decimal, "fee", "In yuan.").or_null(),
            text("rate", "As in the bill.", "0.60%").or_null(),
            time("at", "When.").or_null(),
            text("status", "In WeChat's words.", "SUCCESS").or_null(),
            text("appid", "The app.", "wxd930ea5d5a258f4f").or_null(),
        ],
    ),
    object(
        "LedgerSide",
        "Our side of a line.",
        &[
            fen("amount_fen", "In the currency's smallest unit."),
            text("currency", "As WeChat names it.", "CNY").or_null(),
            text("state", "Of the payment or refund.", "credited").or_null(),
            time("at", "When.").or_null(),
        ],
    ),
    object(
        "RepairAnswer",
        "With `dry_run` true: `plan` and `next`; else `results` and `repair`.",
        &[
            flag("dry_run", "Whether it is a plan."),
            objects("plan", "What would be done, by line.", "PlanItem").optional(),
            number("next", "Give it as `after` for the next page of the plan.").or_null().optional(),
            objects("results", "What was done, by line.", "RepairResult").optional(),
            object_field("repair", "How far it is.", "Repair").or_null().optional(),
        ],
    ),
    object(
        "PlanItem",
        "A line and what would be done.",
        &[object_field("line", "The line.", "Line"), word("mend", "What mends it.", names_of!(Mend)), ORDER_NO],
    ),
    object(
        "RepairResult",
        "What was done about a line.",
        &[
            number("line", "Its id."),
            word("mend", "What mends it.", names_of!(Mend)),
            text("result", "What came of it.", "repaired"),
            text("said", "What WeChat said, where the line waits.", "SYSTEMERROR").optional(),
        ],
    ),
];

pub const SECTION: Section = Section {
    name: "Reconciliation",
    about: "WeChat's bills against the books, row by row.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
