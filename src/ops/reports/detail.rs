//! The detail sheet of a day: every payment and refund by WeChat's time.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use serde_json::Value;

use super::cell::{Cell, Language};
use super::ledger::period_of;
use super::reconciled::{BillOnly, DayLine, day_lines};
use super::sheet::Sheet;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::MerchantKey;
use crate::reconcile::BillFees;
use crate::reconciliation::{BillSide, Ids, LineKind};
use crate::store::{BookRange, ClosedMonth, DbError, DetailRow, Store};
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
    let context = Context { closed, lines, fees, language, further };
    let begun = (store.clone(), range, context, Some(None));
    let rows = try_unfold(begun, |(store, range, context, rest)| async move {
        let Some(after) = rest else { return Ok(None) };
        let found = store.detail_rows(&range, after, CHUNK).await?;
        let is_full = found.len() >= usize::try_from(CHUNK).unwrap_or(usize::MAX);
        let next = found.last().filter(|_| is_full).map(|row| Some((row.at, row.is_refund, row.id)));
        let fees = context.fees_of(&found).await?;
        let mut rows: Vec<Vec<Cell>> = found.iter().zip(fees).map(|(row, fee)| context.cells(row, fee)).collect();
        if next.is_none() {
            rows.extend(context.only_in_bill());
        }
        Ok::<_, DbError>(Some((rows, (store, range, context, next))))
    });
    let file_name = format!("detail-{merchant}-{}", begin.to_beijing_day());
    Ok(Sheet { file_name, tab: language.pick("明细", "Detail"), heads, rows: rows.boxed() })
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
    /// Differences of the day, by the number of their payment or refund.
    lines: BTreeMap<String, DayLine>,
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
        let line = self.lines.get(number).cloned();
        let is_unread = line.is_none() && matches!(self.fees, Fees::Unread);
        let flags = self.flags(row, line.as_ref(), is_unread);
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

    /// What the bill has and our books do not, behind what they have.
    fn only_in_bill(&self) -> impl Iterator<Item = Vec<Cell>> {
        self.lines.values().filter_map(|line| Some(self.bill_cells(line, line.only_in_bill.as_ref()?)))
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
    fn flags(&self, row: &DetailRow, line: Option<&DayLine>, is_unread: bool) -> Cell {
        let mut flags = Vec::new();
        flags.extend(row.class.clone().filter(|class| class != "credited"));
        flags.extend(row.reason.clone());
        flags.extend(line.map(|line| line.class.clone()));
        flags.extend(is_unread.then(|| "fee_unread".to_owned()));
        let period = period_of(row.at, row.recorded_at, &self.closed);
        flags.extend(period.adjusts.map(|_| format!("adjusts:{}", period.month)));
        if flags.is_empty() { Cell::Empty } else { Cell::Text(flags.join(" ")) }
    }
}
