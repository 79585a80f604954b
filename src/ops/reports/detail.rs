//! The detail sheet of a day: every payment and refund by WeChat's time.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use serde_json::Value;

use super::cell::{Cell, Language};
use super::ledger::period_of;
use super::reconciled::{BillOnly, DayLine, DayLines, bill_only, day_lines, of_line};
use super::sheet::Sheet;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::MerchantKey;
use crate::reconcile::BillFees;
use crate::reconciliation::{BillSide, Ids, LineKind};
use crate::store::{BookRange, ClosedMonth, DbError, DetailPlace, DetailRow, Store};
use crate::wechat::transport::Client;

/// Lines that are in memory at once.
const CHUNK: u32 = 500;
/// Further columns of one sheet.
pub const MAX_COLUMNS: usize = 20;

const ENGLISH: [&str; 11] =
    ["time", "out_trade_no", "transaction_id", "goods", "type", "amount", "refund", "fee", "rate", "net", "flags"];
const CHINESE: [&str; 11] =
    ["交易时间", "商户订单号", "微信订单号", "商品", "类型", "金额", "退款", "手续费", "费率", "净额", "标记"];

/// A further column: `attach`, or a member of the order's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Further {
    Attach,
    Metadata(String),
}

impl Further {
    /// `attach`, `metadata.table`.
    pub fn parse(text: &str) -> Option<Further> {
        match text {
            "attach" => Some(Further::Attach),
            _ => text.strip_prefix("metadata.").filter(|name| !name.is_empty()).map(|n| Further::Metadata(n.into())),
        }
    }

    fn head(&self, language: Language) -> String {
        match self {
            Further::Attach => language.pick("附加数据", "attach").to_owned(),
            Further::Metadata(name) => name.clone(),
        }
    }

    fn cell(&self, content: &Value) -> Cell {
        let value = match self {
            Further::Attach => &content["attach"],
            Further::Metadata(name) => &content["metadata"][name.as_str()],
        };
        match value {
            Value::Null => Cell::Empty,
            Value::String(text) => Cell::text(text),
            other => Cell::text(other.to_string()),
        }
    }
}

/// Where the lines of a day come from: our books, and WeChat's bill for the fees of lines that do not differ.
#[derive(Clone, Copy)]
pub struct DetailSource<'a> {
    pub config: &'a Config,
    pub store: &'a Store,
    pub wechat: &'a Client,
}

/// The lines of a day, read while they are written.
pub async fn detail_sheet(
    on: DetailSource<'_>,
    merchant: &MerchantKey,
    begin: Timestamp,
    (language, further): (Language, Vec<Further>),
) -> Result<Sheet, DbError> {
    let store = on.store;
    let range = BookRange { merchant: merchant.clone(), from: begin, to: begin.next_beijing_midnight() };
    let closed = store.closed_months(merchant).await?;
    let lines = day_lines(store, merchant, begin).await?;
    let fees = fees(on, merchant, begin).await?;
    let mut heads = language.pick(CHINESE, ENGLISH).map(str::to_owned).to_vec();
    heads.extend(further.iter().map(|column| column.head(language)));
    let pages = Pages { store: store.clone(), range, context: Context { closed, lines, fees, language, further } };
    let rows = try_unfold((pages, Some(Place::Ours(None))), |(pages, place)| async move {
        let Some(place) = place else { return Ok(None) };
        let (rows, next) = pages.page(place).await?;
        Ok::<_, DbError>(Some((rows, (pages, next))))
    });
    let file_name = format!("detail-{merchant}-{}", begin.to_beijing_day());
    Ok(Sheet { file_name, tab: language.pick("明细", "Detail"), heads, rows: rows.boxed() })
}

/// Where a sheet goes on.
enum Place {
    /// In our rows.
    Ours(Option<DetailPlace>),
    /// In what the bill alone has: of which class, the last first, and behind which line.
    Bill(Vec<String>, i64),
}

struct Pages {
    store: Store,
    range: BookRange,
    context: Context,
}

impl Pages {
    /// The rows of a place, and where the next ones are.
    async fn page(&self, place: Place) -> Result<(Vec<Vec<Cell>>, Option<Place>), DbError> {
        match place {
            Place::Ours(after) => self.ours(after).await,
            Place::Bill(classes, after) => self.of_bill(classes, after).await,
        }
    }

    async fn ours(&self, after: Option<DetailPlace>) -> Result<(Vec<Vec<Cell>>, Option<Place>), DbError> {
        let context = &self.context;
        let found = self.store.detail_rows(&self.range, after, CHUNK).await?;
        let fees = context.fees_of(&found).await?;
        let rows = found.iter().zip(fees).map(|(row, fee)| context.cells(row, fee)).collect();
        let next = match found.last().filter(|_| is_full(found.len())) {
            Some(row) => Place::Ours(Some((row.at, row.is_refund, row.id))),
            None => Place::Bill(context.lines.of.iter().flat_map(|day| day.classes.keys().cloned()).collect(), 0),
        };
        Ok((rows, Some(next)))
    }

    /// Rows of the bill that are none of ours, a class after the other.
    async fn of_bill(&self, mut classes: Vec<String>, after: i64) -> Result<(Vec<Vec<Cell>>, Option<Place>), DbError> {
        let Some(of) = &self.context.lines.of else { return Ok((Vec::new(), None)) };
        let Some(class) = classes.last() else {
            // The lines of a result are removed once there is another one.
            let newest = self.store.reconciliation(&of.merchant, &of.day).await?;
            return match newest.filter(|day| day.run == of.run) {
                Some(_) => Ok((Vec::new(), None)),
                None => Err(DbError::Defect(format!("{} was compared again while its sheet was read", of.day))),
            };
        };
        let found = self.store.lines_of_bill((of, class), &self.range, after, u64::from(CHUNK)).await?;
        let rows = found.iter().filter_map(|line| Some(self.context.bill_cells(&of_line(line), &bill_only(line)?)));
        let rows = rows.collect();
        let next = match found.last().filter(|_| is_full(found.len())) {
            Some(line) => Place::Bill(classes, line.id),
            None => {
                classes.pop();
                Place::Bill(classes, 0)
            }
        };
        Ok((rows, Some(next)))
    }
}

fn is_full(rows: usize) -> bool {
    rows >= usize::try_from(CHUNK).unwrap_or(usize::MAX)
}

/// The fees of lines that do not differ.
enum Fees {
    /// The day has no bill.
    None,
    Bill(Arc<BillFees>),
    /// The bill could not be read again: such lines are marked.
    Unread,
}

async fn fees(on: DetailSource<'_>, merchant: &MerchantKey, begin: Timestamp) -> Result<Fees, DbError> {
    let day = begin.to_beijing_day();
    let found = on.store.reconciliation(merchant, &day).await?;
    if found.is_none_or(|day| day.bill_hash.is_none()) {
        return Ok(Fees::None);
    }
    let Some(merchant) = on.config.merchant(merchant.as_str()) else { return Ok(Fees::Unread) };
    Ok(match BillFees::of_day(on.config, on.wechat, merchant, &day).await {
        Ok(fees) => Fees::Bill(Arc::new(fees)),
        Err(e) => {
            tracing::warn!(merchant = %merchant.key, day, error = %e, "a sheet has no fees: the bill cannot be read");
            Fees::Unread
        }
    })
}

fn ids_of(row: &DetailRow) -> Ids {
    Ids {
        kind: if row.is_refund { LineKind::Refund } else { LineKind::Payment },
        transaction_id: row.transaction_id.clone(),
        out_trade_no: String::new(),
        refund_no: row.refund_no.clone(),
        refund_id: None,
    }
}

struct Context {
    closed: Vec<ClosedMonth>,
    lines: DayLines,
    fees: Fees,
    language: Language,
    further: Vec<Further>,
}

impl Context {
    /// What the bill says of these lines.
    async fn fees_of(&self, rows: &[DetailRow]) -> Result<Vec<Option<BillSide>>, DbError> {
        let Fees::Bill(fees) = &self.fees else { return Ok(vec![None; rows.len()]) };
        let (fees, ids) = (Arc::clone(fees), rows.iter().map(ids_of).collect::<Vec<_>>());
        let found = tokio::task::spawn_blocking(move || ids.iter().map(|ids| fees.find(ids)).collect());
        let found: Result<Vec<_>, std::io::Error> = found.await.map_err(|e| DbError::Defect(e.to_string()))?;
        found.map_err(|e| DbError::Defect(format!("the fees of a sheet: {e}")))
    }

    fn cells(&self, row: &DetailRow, fee: Option<BillSide>) -> Vec<Cell> {
        let content: Value =
            row.content.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let number = row.refund_no.as_deref().unwrap_or(&row.transaction_id);
        let line = self.lines.lines.get(number).cloned();
        let flags = self.flags(row, line.as_ref());
        let line = line.or_else(|| fee.map(|side| DayLine::matched(row.is_refund, &side)));
        let line = line.as_ref();
        let money = |fen| Cell::Money(fen, row.currency.clone());
        let (paid, back) = if row.is_refund { (0, row.amount_fen) } else { (row.amount_fen, 0) };
        let mut cells = vec![
            Cell::Time(row.at),
            Cell::text(&row.out_trade_no),
            Cell::text(&row.transaction_id),
            Cell::optional(content["description"].as_str()),
            Cell::text(self.kind(row.is_refund)),
            if row.is_refund { Cell::Empty } else { money(paid) },
            if row.is_refund { money(back) } else { Cell::Empty },
            line.and_then(|line| line.fee.clone()).map_or(Cell::Empty, Cell::Decimal),
            Cell::optional(line.and_then(|line| line.rate.clone())),
            line.and_then(|line| line.net.clone()).map_or_else(|| money(paid - back), Cell::Decimal),
            flags,
        ];
        cells.extend(self.further.iter().map(|column| column.cell(&content)));
        cells
    }

    fn bill_cells(&self, line: &DayLine, bill: &BillOnly) -> Vec<Cell> {
        let money = || Cell::Money(bill.fen, bill.currency.clone());
        let decimal = |text: &Option<String>| text.clone().map_or(Cell::Empty, Cell::Decimal);
        let mut cells = vec![
            Cell::Time(bill.at),
            Cell::text(&bill.out_trade_no),
            Cell::text(&bill.transaction_id),
            Cell::Empty,
            Cell::text(self.kind(bill.is_refund)),
            if bill.is_refund { Cell::Empty } else { money() },
            if bill.is_refund { money() } else { Cell::Empty },
            decimal(&line.fee),
            Cell::optional(line.rate.clone()),
            decimal(&line.net),
            Cell::text(&line.class),
        ];
        cells.extend(self.further.iter().map(|_| Cell::Empty));
        cells
    }

    fn kind(&self, is_refund: bool) -> &'static str {
        if is_refund { self.language.pick("退款", "refund") } else { self.language.pick("支付", "payment") }
    }

    /// What is special about a line, in the words of the books.
    fn flags(&self, row: &DetailRow, line: Option<&DayLine>) -> Cell {
        let mut flags = Vec::new();
        flags.extend(row.class.clone().filter(|class| class != "credited"));
        flags.extend(row.reason.clone());
        flags.extend(line.map(|line| line.class.clone()));
        if line.is_none() {
            flags.extend(self.lines.is_cut.then(|| "class_unread".to_owned()));
            flags.extend(matches!(self.fees, Fees::Unread).then(|| "fee_unread".to_owned()));
        }
        let period = period_of(row.at, row.recorded_at, &self.closed);
        flags.extend(period.adjusts.map(|_| format!("adjusts:{}", period.month)));
        if flags.is_empty() { Cell::Empty } else { Cell::Text(flags.join(" ")) }
    }
}
