//! Rows that only one side has on the day, searched on other days; every pair becomes a line.
//!
//! A refund stands in the bill of the day on which WeChat accepted it, which the bill knows and we may not: its day in
//! our books is taken from there; where a closed month counts it on the old day, it is carried instead. Of payments
//! both sides have WeChat's own time.

use std::collections::HashMap;
use std::time::Duration;

use super::compare::Pair;
use super::error::RunError;
use super::timetable::oldest;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconciliation::{
    BillItem, Booked, Found, LedgerItem, LineClass, LineKind, NewLine, Resolution, Rules, both, only_in_bill,
    only_in_ledger, repeated,
};
use crate::store::{BilledRefund, Store};
use crate::wechat::v2::bill::BillDay;

/// How far apart the days may be on which both sides have it.
const CARRY_DAYS: usize = 3;
/// What is booked around midnight may stand in the bill of the other day.
const AROUND_MIDNIGHT: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Makes lines of pairs.
pub(super) struct Elsewhere<'a> {
    pub store: &'a Store,
    pub merchant: &'a MerchantKey,
    pub day: BillDay,
    pub rules: &'a Rules,
    pub now: Timestamp,
    /// Pairs that are matched after all.
    pub matched: i64,
    /// Whether a line waits for a later bill.
    pub awaits: bool,
    /// Whether a line waits for the end of a refund.
    pub pends: bool,
}

impl Elsewhere<'_> {
    pub async fn lines(&mut self, pairs: Vec<Pair>) -> Result<Vec<NewLine>, RunError> {
        let known = self.known(&pairs).await?;
        let mut lines = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let line = match pair {
                Pair::Differs { bill, ledger, booked } => Some(self.differs(bill, ledger, booked)),
                Pair::OnlyInBill(bill) => self.only_in_bill(bill, &known).await?,
                Pair::OnlyInLedger(ledger) => Some(self.only_in_ledger(ledger, &known)),
                Pair::Repeated { bill, ledger, repeat } => {
                    let verdict = repeated(&bill);
                    let line = new_line(bill.ids.clone(), verdict, Some(bill), ledger);
                    Some(NewLine { repeat, ..line })
                }
            };
            let Some(line) = line else {
                self.matched += 1;
                continue;
            };
            self.pends |= line.verdict.class == LineClass::RefundPending && line.verdict.resolution != Resolution::None;
            lines.push(line);
        }
        Ok(lines)
    }

    fn differs(&self, bill: BillItem, ledger: LedgerItem, booked: Option<i64>) -> NewLine {
        let verdict = both(&bill, &ledger, booked.map(|fee| Booked { fee }), self.rules);
        NewLine { booked_fee: booked, ..new_line(bill.ids.clone(), verdict, Some(bill), Some(ledger)) }
    }

    /// None where it is matched after all.
    async fn only_in_bill(&mut self, bill: BillItem, known: &Known) -> Result<Option<NewLine>, RunError> {
        let Some(ledger) = known.ours(&bill) else {
            let verdict = only_in_bill(&bill, &Found::Nowhere, self.rules);
            return Ok(Some(new_line(bill.ids.clone(), verdict, Some(bill), None)));
        };
        let day = BillDay::of(ledger.side.time);
        let is_same = ledger.ids.transaction_id == bill.ids.transaction_id;
        // A refund whose call has no known answer is not among those that WeChat took on, and the bill has it.
        let is_unanswered = ledger.ids.refund_id.is_none();
        if bill.ids.kind == LineKind::Refund && is_same && (day != self.day || is_unanswered) {
            return self.accepted(bill, ledger.clone(), day).await;
        }
        let is_near = day != self.day && self.near().any(|near| near == day);
        let found = if is_near { Found::Near(day.to_string()) } else { Found::Nowhere };
        let verdict = only_in_bill(&bill, &found, self.rules);
        let line = new_line(bill.ids.clone(), verdict, Some(bill), Some(ledger.clone()));
        Ok(Some(NewLine { other_day: Some(day.to_string()), ..line }))
    }

    /// A refund of ours that the bill has on this day: this is its day, unless a closed month has it on its own, or the
    /// bill itself says that it was accepted on another one.
    async fn accepted(
        &mut self,
        bill: BillItem,
        mut ledger: LedgerItem,
        day: BillDay,
    ) -> Result<Option<NewLine>, RunError> {
        let is_here = day == self.day || BillDay::of(bill.side.time) == self.day;
        let is_noted = match &ledger.ids.refund_no {
            Some(_) if !is_here => false,
            Some(refund_no) => self.store.note_refund_accepted(&self.billed(refund_no, &bill)).await?,
            None => true,
        };
        let carried = (!is_noted).then(|| self.carried(&bill, &ledger, day));
        if is_noted {
            ledger.side.time = bill.side.time;
        }
        // Our side counts where it stays.
        let other_day = (!is_noted).then(|| day.to_string());
        let line = NewLine { other_day, ..self.differs(bill, ledger, None) };
        Ok(if line.verdict.class == LineClass::Matched { carried } else { Some(line) })
    }

    fn billed(&self, refund_no: &str, bill: &BillItem) -> BilledRefund {
        BilledRefund {
            merchant: self.merchant.clone(),
            refund_no: refund_no.to_owned(),
            at: bill.side.time,
            day: self.day.to_string(),
            oldest: oldest(self.now).to_string(),
            now: self.now,
        }
    }

    /// Both sides have it, ours on another day.
    fn carried(&self, bill: &BillItem, ledger: &LedgerItem, day: BillDay) -> NewLine {
        let verdict = only_in_bill(bill, &Found::Near(day.to_string()), self.rules);
        let line = new_line(bill.ids.clone(), verdict, Some(bill.clone()), Some(ledger.clone()));
        NewLine { other_day: Some(day.to_string()), ..line }
    }

    fn only_in_ledger(&mut self, ledger: LedgerItem, known: &Known) -> NewLine {
        let key = (ledger.ids.transaction_id.clone(), ledger.ids.refund_no.clone());
        let found = match known.carried.get(&key) {
            Some(day) => Found::Near(day.clone()),
            None if self.is_awaited(&ledger) => Found::Awaited,
            None => Found::Nowhere,
        };
        self.awaits |= found == Found::Awaited;
        let verdict = only_in_ledger(&ledger, &found);
        let line = new_line(ledger.ids.clone(), verdict, None, Some(ledger));
        match found {
            Found::Near(day) => NewLine { other_day: Some(day), ..line },
            Found::Nowhere | Found::Awaited => line,
        }
    }

    fn is_awaited(&self, ledger: &LedgerItem) -> bool {
        let (begins, ends) = (self.day.begins_at(), self.day.ends_at());
        let at = ledger.side.time;
        let is_around = at < begins.after(AROUND_MIDNIGHT) || at >= ends.before(AROUND_MIDNIGHT);
        (is_around || !ledger.side.is_certain) && self.now < awaited_until(self.day)
    }

    fn near(&self) -> impl Iterator<Item = BillDay> + use<> {
        let before = std::iter::successors(Some(self.day.previous()), |day| Some(day.previous()));
        let after = std::iter::successors(Some(self.day.next()), |day| Some(day.next()));
        before.take(CARRY_DAYS).chain(after.take(CARRY_DAYS))
    }

    async fn known(&self, pairs: &[Pair]) -> Result<Known, RunError> {
        let in_bill = |kind: LineKind| {
            pairs.iter().filter_map(move |pair| match pair {
                Pair::OnlyInBill(bill) if bill.ids.kind == kind => Some(&bill.ids),
                _ => None,
            })
        };
        let numbers: Vec<String> = in_bill(LineKind::Payment).map(|ids| ids.transaction_id.clone()).collect();
        let payments = self.store.payments_by_number(self.merchant, &numbers).await?;
        let numbers: Vec<String> = in_bill(LineKind::Refund).filter_map(|ids| ids.refund_no.clone()).collect();
        let refunds = self.store.refunds_by_number(self.merchant, &numbers).await?;
        let ours = pairs.iter().filter_map(|pair| match pair {
            Pair::OnlyInLedger(ledger) => Some(ledger.ids.transaction_id.clone()),
            _ => None,
        });
        let days: Vec<String> = self.near().map(|day| day.to_string()).collect();
        let carried = self.store.carried_in_bills(self.merchant, &ours.collect::<Vec<_>>(), &days).await?;
        Ok(Known { payments, refunds, carried })
    }
}

/// Until when a row of ours may still come in a later bill: noon after the last of the days.
pub(super) fn awaited_until(day: BillDay) -> Timestamp {
    day.ends_at().after(DAY * 3).after(DAY / 2)
}

/// What the store has about one part of the pairs.
struct Known {
    payments: HashMap<String, LedgerItem>,
    refunds: HashMap<String, LedgerItem>,
    carried: HashMap<(String, Option<String>), String>,
}

impl Known {
    fn ours(&self, bill: &BillItem) -> Option<&LedgerItem> {
        match bill.ids.kind {
            LineKind::Payment => self.payments.get(&bill.ids.transaction_id),
            LineKind::Refund => bill.ids.refund_no.as_ref().and_then(|number| self.refunds.get(number)),
        }
    }
}

fn new_line(
    ids: crate::reconciliation::Ids,
    verdict: crate::reconciliation::Verdict,
    bill: Option<BillItem>,
    ledger: Option<LedgerItem>,
) -> NewLine {
    NewLine {
        ids,
        order_no: ledger.as_ref().and_then(|item| item.order_no.clone()),
        verdict,
        bill: bill.map(|item| item.side),
        ledger: ledger.map(|item| item.side),
        booked_fee: None,
        other_day: None,
        repeat: 0,
    }
}
