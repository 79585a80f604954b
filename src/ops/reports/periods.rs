//! Months: their figures, frozen where they are closed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::days::{CurrencyDay, DayRow, day_rows, days_of};
use super::ledger::period_of;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::{ClosedMonth, ClosedRange, DbError, LateRow, PeriodClosing, Store};

/// What is recorded at this very moment counts.
const THIS_MOMENT: Duration = Duration::from_millis(1);
/// Adjustments of a month that are listed, and of one statement.
const LISTED: u32 = 10_000;

/// A month in Beijing, `2026-11`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Month {
    pub text: String,
    pub begins_at: Timestamp,
    pub ends_at: Timestamp,
}

impl Month {
    pub fn parse(text: &str) -> Option<Month> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (year, number) = text.split_once('-').filter(|(y, m)| y.len() == 4 && m.len() == 2)?;
        if !digits(year) || !digits(number) {
            return None;
        }
        let (year, number): (i32, u32) = (year.parse().ok()?, number.parse().ok()?);
        let (next_year, next) = if number == 12 { (year + 1, 1) } else { (year, number + 1) };
        let begins_at = Timestamp::parse_beijing_day(&format!("{text}-01")).ok()?;
        let ends_at = Timestamp::parse_beijing_day(&format!("{next_year:04}-{next:02}-01")).ok()?;
        Some(Month { text: text.to_owned(), begins_at, ends_at })
    }

    /// The month that holds a moment.
    pub fn of(at: Timestamp) -> Option<Month> {
        Month::parse(at.to_beijing_day().get(..7)?)
    }

    /// The month before it.
    pub fn before(&self) -> Option<Month> {
        Month::of(Timestamp::from_ms(self.begins_at.as_ms() - 1))
    }
}

/// The figures of a month: every day, and their sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    pub payments: i64,
    pub payments_fen: i64,
    pub refunds: i64,
    pub refunds_fen: i64,
    /// The same sums of other currencies than yuan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<String, CurrencySums>,
    pub days: Vec<DayRow>,
}

/// Sums in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CurrencySums {
    pub payments: i64,
    pub payments_fen: i64,
    pub refunds: i64,
    pub refunds_fen: i64,
}

impl CurrencySums {
    fn add(&mut self, other: CurrencySums) {
        self.payments = self.payments.saturating_add(other.payments);
        self.payments_fen = self.payments_fen.saturating_add(other.payments_fen);
        self.refunds = self.refunds.saturating_add(other.refunds);
        self.refunds_fen = self.refunds_fen.saturating_add(other.refunds_fen);
    }
}

fn other_sums(days: &[DayRow]) -> BTreeMap<String, CurrencySums> {
    let mut sums = BTreeMap::<String, CurrencySums>::new();
    for (currency, day) in days.iter().flat_map(|day| &day.others) {
        let CurrencyDay { payments, payments_fen, refunds, refunds_fen, .. } = *day;
        let of = CurrencySums { payments, payments_fen, refunds, refunds_fen };
        sums.entry(currency.clone()).or_default().add(of);
    }
    sums
}

impl Figures {
    pub fn of(days: Vec<DayRow>) -> Figures {
        let sum = |of: fn(&DayRow) -> i64| days.iter().map(of).fold(0, i64::saturating_add);
        Figures {
            payments: sum(|day| day.payments),
            payments_fen: sum(|day| day.payments_fen),
            refunds: sum(|day| day.refunds),
            refunds_fen: sum(|day| day.refunds_fen),
            others: other_sums(&days),
            days,
        }
    }
}

/// What a month has beside its own days: a fact about a day of a month that was closed before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adjustment {
    /// The day that it is about.
    pub adjusts: String,
    pub kind: &'static str,
    pub order_no: Option<String>,
    /// WeChat's number of the payment, or ours of the refund.
    pub number: String,
    /// A refund is negative.
    pub amount_fen: i64,
    pub currency: String,
    pub recorded_at: Timestamp,
}

/// A month with its figures.
#[derive(Debug, Clone)]
pub struct PeriodView {
    pub merchant: MerchantKey,
    pub month: Month,
    /// The closing in force.
    pub closing: Option<PeriodClosing>,
    /// The closings that were reopened, the newest first.
    pub reopened: Vec<PeriodClosing>,
    /// Its days, those of the figures.
    pub days: Vec<DayRow>,
    /// JSON: those of the closing, word for word, or those of now.
    pub figures: Box<RawValue>,
    /// The first of them, oldest first.
    pub adjustments: Vec<Adjustment>,
    /// What all of them come to, by currency.
    pub adjusted: BTreeMap<String, CurrencySums>,
}

/// What was recorded on a day about a day of a month that was closed before, in one currency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AdjustedDay {
    /// The day of recording.
    pub day: String,
    pub adjusts: String,
    pub currency: String,
}

/// What counts in a range and is about days of months that were closed before.
#[derive(Debug, Clone, Default)]
pub struct Adjustments {
    /// The first of them, oldest first.
    pub listed: Vec<Adjustment>,
    /// What all of them come to.
    pub sums: BTreeMap<AdjustedDay, CurrencySums>,
}

impl Adjustments {
    fn add(&mut self, row: &LateRow, closed: &[ClosedMonth]) {
        let Some(adjustment) = adjustment(row, closed) else { return };
        let (day, currency) = (row.recorded_at.to_beijing_day(), row.currency.clone());
        let of = match row.is_refund {
            false => CurrencySums { payments: 1, payments_fen: row.amount_fen, ..CurrencySums::default() },
            true => CurrencySums { refunds: 1, refunds_fen: row.amount_fen, ..CurrencySums::default() },
        };
        let adjusts = adjustment.adjusts.clone();
        self.sums.entry(AdjustedDay { day, adjusts, currency }).or_default().add(of);
        if self.listed.len() < LISTED as usize {
            self.listed.push(adjustment);
        }
    }

    fn by_currency(&self) -> BTreeMap<String, CurrencySums> {
        let mut sums = BTreeMap::<String, CurrencySums>::new();
        for (day, of) in &self.sums {
            sums.entry(day.currency.clone()).or_default().add(*of);
        }
        sums
    }
}

/// What counts in the months of a range beside their own days.
pub async fn adjustments(
    store: &Store,
    merchant: &MerchantKey,
    (from, to): (Timestamp, Timestamp),
) -> Result<Adjustments, DbError> {
    let closed = store.closed_months(merchant).await?;
    let ranges: Vec<ClosedRange> = closed.iter().filter_map(closed_range).collect();
    let mut adjustments = Adjustments::default();
    let mut begin = from;
    while begin < to {
        let end = Month::of(begin).map_or(to, |month| month.ends_at.min(to));
        let mut after: Option<LateRow> = None;
        loop {
            let mut page = store.late_rows(merchant, (begin, end), ranges.clone(), (after.as_ref(), LISTED)).await?;
            page.iter().for_each(|row| adjustments.add(row, &closed));
            let is_last = page.len() < LISTED as usize;
            after = page.pop();
            if is_last {
                break;
            }
        }
        begin = end;
    }
    Ok(adjustments)
}

/// A month as it is, closed or open.
pub async fn period(
    store: &Store,
    merchant: &MerchantKey,
    month: Month,
    now: Timestamp,
) -> Result<PeriodView, DbError> {
    let one = std::slice::from_ref(merchant);
    let closings = store.period_closings(Some(one), Some(&month.text), 100).await?;
    let (reopened, in_force): (Vec<_>, Vec<_>) = closings.into_iter().partition(|closing| closing.reopened.is_some());
    let closing = in_force.into_iter().next();
    let (text, days) = match &closing {
        Some(closing) => (closing.figures.clone(), frozen(closing)?),
        None => {
            let figures = figures(store, merchant, &month, now.after(THIS_MOMENT)).await?;
            (text_of(&figures)?, figures.days)
        }
    };
    let figures = RawValue::from_string(text).map_err(|e| DbError::Defect(format!("figures of a month: {e}")))?;
    let all = adjustments(store, merchant, (month.begins_at, month.ends_at)).await?;
    let (merchant, adjusted) = (merchant.clone(), all.by_currency());
    Ok(PeriodView { merchant, month, closing, reopened, days, figures, adjustments: all.listed, adjusted })
}

/// The figures of a month as of now.
pub async fn figures(
    store: &Store,
    merchant: &MerchantKey,
    month: &Month,
    recorded_before: Timestamp,
) -> Result<Figures, DbError> {
    Ok(Figures::of(day_rows(store, merchant, (month.begins_at, month.ends_at), recorded_before).await?))
}

/// Figures as they are kept and hashed.
pub fn text_of(figures: &Figures) -> Result<String, DbError> {
    serde_json::to_string(figures).map_err(|e| DbError::Defect(e.to_string()))
}

fn closed_range(closed: &ClosedMonth) -> Option<ClosedRange> {
    let Month { begins_at, ends_at, .. } = Month::parse(&closed.month)?;
    Some(ClosedRange { begins_at, ends_at, cut_at: closed.cut_at })
}

fn adjustment(row: &LateRow, closed: &[ClosedMonth]) -> Option<Adjustment> {
    let adjusts = period_of(row.billed_at, row.recorded_at, closed).adjusts?;
    Some(Adjustment {
        adjusts,
        kind: if row.is_refund { "refund" } else { "payment" },
        order_no: row.order_no.clone(),
        number: row.number.clone(),
        amount_fen: if row.is_refund { -row.amount_fen } else { row.amount_fen },
        currency: row.currency.clone(),
        recorded_at: row.recorded_at,
    })
}

/// The days of a closing.
fn frozen(closing: &PeriodClosing) -> Result<Vec<DayRow>, DbError> {
    let figures: Result<Figures, _> = serde_json::from_str(&closing.figures);
    figures.map(|figures| figures.days).map_err(|e| DbError::Defect(format!("figures of {}: {e}", closing.month)))
}

/// The days of a range: those of closed months as they were then. What a closing froze is not summed again.
pub async fn frozen_or_now(
    store: &Store,
    merchant: &MerchantKey,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<Vec<DayRow>, DbError> {
    let one = std::slice::from_ref(merchant);
    let mut closed = BTreeMap::<String, DayRow>::new();
    for month in store.closed_months(merchant).await? {
        if closed_range(&month).is_none_or(|range| range.begins_at >= to || range.ends_at <= from) {
            continue;
        }
        let closings = store.period_closings(Some(one), Some(&month.month), 100).await?;
        for closing in closings.iter().filter(|closing| closing.reopened.is_none()) {
            closed.extend(frozen(closing)?.into_iter().map(|day| (day.day.clone(), day)));
        }
    }
    let now = now.after(THIS_MOMENT);
    let (mut rows, mut open_from) = (Vec::new(), None);
    for begin in days_of(from, to) {
        let Some(row) = closed.remove(&begin.to_beijing_day()) else {
            open_from = open_from.or(Some(begin));
            continue;
        };
        if let Some(open_from) = open_from.take() {
            rows.extend(day_rows(store, merchant, (open_from, begin), now).await?);
        }
        rows.push(row);
    }
    if let Some(open_from) = open_from {
        rows.extend(day_rows(store, merchant, (open_from, to), now).await?);
    }
    Ok(rows)
}
