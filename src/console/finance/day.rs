//! `GET /console/reconciliation/{merchant}/{day}`: the proof of a day and its lines by class; `POST …/lines/{id}`:
//! explains a line by a note.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::calendar::{self, PATH};
use super::words::FinanceWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::money::Money;
use crate::console::ui::reason;
use crate::console::ui::status::Status;
use crate::console::viewer::Viewer;
use crate::ids::MerchantKey;
use crate::ops::reconciliation::{Resolved, line, lines, resolve as explain};
use crate::ops::reports::{DayState, Proof, proof};
use crate::reconciliation::{LineClass, LineKind, Resolution};
use crate::store::{Line, Right};

const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/reconciliation_day.html")]
struct DayPage {
    frame: Frame,
    t: &'static FinanceWords,
    query: Filters,
    proof: Proof,
    lines: Vec<Line>,
    path: String,
    newest: Option<String>,
    older: Option<String>,
    may_resolve: bool,
    may_export: bool,
}

fn path_of(merchant: &MerchantKey, day: &str) -> String {
    format!("{PATH}/{merchant}/{day}")
}

async fn found(app: &Console, viewer: &Viewer, (merchant, day): (&str, &str)) -> Result<Proof, Fault> {
    let merchant = MerchantKey::parse(merchant).ok().filter(|merchant| viewer.sees(merchant));
    let merchant = merchant.ok_or(Fault::NotFound)?;
    proof(&app.store, &merchant, day).await?.ok_or(Fault::NotFound)
}

pub async fn get(
    app: Console,
    viewer: Viewer,
    Path((merchant, day)): Path<(String, String)>,
    query: Filters,
) -> Result<Response, Fault> {
    let t = FinanceWords::of(app.lang);
    let proof = found(&app, &viewer, (&merchant, &day)).await?;
    let class = query.get("class").and_then(LineClass::parse);
    let after = query.get("after").and_then(|text| text.parse().ok());
    let shown = lines(&app.store, &proof.day, class, after, LIMIT).await?;
    let path = path_of(&proof.day.merchant, &proof.day.day);
    page(&DayPage {
        frame: Frame::new(&app, &viewer, Place::Reconciliation, format!("{} {day}", t.calendar_title)),
        t,
        lines: shown.rows,
        newest: after.map(|_: i64| query.with_first(&path, "class", query.text("class"))),
        older: shown.next.map(|id| query.with(&path, "after", &id.to_string())),
        path,
        may_resolve: viewer.may(Right::Accept),
        may_export: viewer.may(Right::Export),
        proof,
        query,
    })
}

/// Explains a line.
pub async fn resolve(
    app: Console,
    Path((merchant, day, id)): Path<(String, String, i64)>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let t = FinanceWords::of(app.lang);
    let proof = found(&app, &viewer, (&merchant, &day)).await?;
    let back = path_of(&proof.day.merchant, &proof.day.day);
    let note = match reason::check(fields.get("note"), app.lang) {
        Ok(note) => note,
        Err(problem) => return Ok(flash::redirect(app.shared.jar, &back, problem)),
    };
    let line = line(&app.store, &proof.day, id).await?.ok_or(Fault::NotFound)?;
    let says = match explain((&app.store, &app.clock), &viewer.operator(), &proof.day, &line, note).await? {
        Resolved::Done => t.says_resolved,
        Resolved::NotOpen => t.says_not_open,
    };
    Ok(flash::redirect(app.shared.jar, &back, says))
}

impl DayPage {
    fn status(&self) -> Status {
        calendar::status(DayState::parse(self.proof.day.state()).unwrap_or(DayState::Pending))
    }

    /// The name of a class, and the address of its lines.
    fn class_link(&self, class: &str) -> String {
        self.query.with_first(&self.path, "class", class)
    }

    fn is_class(&self, class: &str) -> bool {
        self.query.text("class") == class
    }

    fn class_word(&self, class: &str) -> &'static str {
        let lang = self.frame.lang;
        match LineClass::parse(class) {
            Some(LineClass::MissingHere) => lang.pick("长款", "missing here"),
            Some(LineClass::MissingInBill) => lang.pick("短款", "missing in the bill"),
            Some(LineClass::Amount) => lang.pick("金额不一致", "amount"),
            Some(LineClass::Fee) => lang.pick("手续费差异", "fee"),
            Some(LineClass::Status) => lang.pick("状态不一致", "status"),
            Some(LineClass::Duplicate) => lang.pick("重复", "duplicate"),
            Some(LineClass::RefundMissingHere) => lang.pick("退款单边（账单有）", "refund missing here"),
            Some(LineClass::RefundMissingInBill) => lang.pick("退款单边（本地有）", "refund missing in the bill"),
            Some(LineClass::RefundAmount) => lang.pick("退款金额不一致", "refund amount"),
            Some(LineClass::RefundPending) => lang.pick("退款处理中", "refund pending"),
            Some(LineClass::RefundReversed) => lang.pick("退款失败", "refund reversed"),
            Some(LineClass::Currency) => lang.pick("币种不一致", "currency"),
            Some(LineClass::Foreign) => lang.pick("其他系统", "another system's"),
            Some(LineClass::Carried) => lang.pick("跨日", "carried"),
            Some(LineClass::Matched) => lang.pick("一致", "matched"),
            None => "",
        }
    }

    fn line_word(&self, line: &Line) -> &'static str {
        self.class_word(line.class.as_str())
    }

    fn resolution(&self, line: &Line) -> Status {
        match line.resolution {
            Resolution::Open => Status::Differs,
            Resolution::Resolved | Resolution::Covered => Status::Explained,
            Resolution::Repaired => Status::Done,
            Resolution::None => Status::Balanced,
        }
    }

    fn is_open(&self, line: &Line) -> bool {
        line.resolution == Resolution::Open
    }

    fn number<'a>(&self, line: &'a Line) -> &'a str {
        match line.kind {
            LineKind::Payment => &line.transaction_id,
            LineKind::Refund => line.refund_no.as_deref().unwrap_or(&line.transaction_id),
        }
    }

    fn link(&self, line: &Line) -> String {
        line.order_no.as_ref().map(|order_no| links::order(&line.merchant, order_no)).unwrap_or_default()
    }

    fn side(&self, fen: Option<i64>, currency: &Option<String>) -> Option<Money> {
        fen.map(|fen| Money::of(fen, currency.as_deref().unwrap_or("CNY")))
    }

    fn bill(&self, line: &Line) -> Option<Money> {
        self.side(line.bill_fen, &line.bill_currency)
    }

    fn ours(&self, line: &Line) -> Option<Money> {
        self.side(line.ledger_fen, &line.ledger_currency)
    }

    fn file(&self, kind: &str) -> String {
        format!("{PATH}/lines?merchant={}&day={}&format={kind}", self.proof.day.merchant, self.proof.day.day)
    }
}
