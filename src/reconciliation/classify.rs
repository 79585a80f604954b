//! Which class a pair of rows has. One class for each: the first that applies, in the order in which they stand here.

use super::line::{LineClass, Verdict};
use super::side::{BillItem, BillSide, LedgerItem, LedgerSide, LineKind};

/// A bill's word for a payment.
const PAID: &str = "SUCCESS";
/// 1/100,000 yuan in a fen.
const PER_FEN: i64 = 1000;
const MILLION: i128 = 1_000_000;
/// How long a refund may take before it is an open difference.
const PENDING_DAYS: i64 = 15;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// What a merchant's settings and the time of the run say.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Beginnings of `out_trade_no` of other systems.
    pub foreign: Vec<String>,
    pub now_ms: i64,
}

/// What the account's own bill says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    /// The fee, in 1/100,000 yuan, with the sign of the trade bill.
    pub fee: i64,
}

/// What is known of a row on other days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nowhere.
    Nowhere,
    /// The other side has it on that day, three days away at most.
    Near(String),
    /// It may still come: the three days are not over.
    Awaited,
}

/// A row that both sides have on this day.
pub fn both(bill: &BillItem, ledger: &LedgerItem, booked: Option<Booked>, rules: &Rules) -> Verdict {
    let (b, l) = (&bill.side, &ledger.side);
    if b.currency != l.currency {
        return Verdict::of(LineClass::Currency);
    }
    match bill.ids.kind {
        LineKind::Payment => payment(b, l, booked),
        LineKind::Refund => refund(b, l, booked, rules),
    }
}

fn payment(b: &BillSide, l: &LedgerSide, booked: Option<Booked>) -> Verdict {
    // `REVOKED`, or the word for a refund on a row that names none.
    if b.status != PAID {
        return Verdict::of(LineClass::Status);
    }
    if b.fen != l.fen {
        return Verdict::of(LineClass::Amount);
    }
    fee(b, booked, 0)
}

fn refund(b: &BillSide, l: &LedgerSide, booked: Option<Booked>, rules: &Rules) -> Verdict {
    if b.fen != l.fen {
        return Verdict::of(LineClass::RefundAmount);
    }
    match l.state.as_str() {
        "succeeded" if b.status == "FAIL" => Verdict::of(LineClass::Status),
        // The bill has the state of its morning and is never updated. WeChat rounds the fee of a part by its own
        // rule: off by a fen says nothing.
        "succeeded" => fee(b, booked, PER_FEN),
        // What made it fail here was WeChat's own answer.
        "failed" => Verdict::covered(LineClass::RefundReversed, "refund_failed_at_wechat"),
        "abnormal" => Verdict::of(LineClass::RefundPending),
        _ if rules.now_ms.saturating_sub(b.time.as_ms()) > PENDING_DAYS * DAY_MS => {
            Verdict::of(LineClass::RefundPending)
        }
        _ => Verdict::covered(LineClass::RefundPending, "refund_under_way"),
    }
}

/// A fee must be what its rate comes to, and what was booked; a rate that is none says nothing.
fn fee(b: &BillSide, booked: Option<Booked>, tolerance: i64) -> Verdict {
    let matched = Verdict::of(LineClass::Matched);
    let wrong = |expected| Verdict { expected_fee: Some(expected), ..Verdict::of(LineClass::Fee) };
    if let Some(Booked { fee: booked }) = booked
        && b.fee.saturating_sub(booked).saturating_abs() >= PER_FEN
    {
        return wrong(booked);
    }
    let Some(rate) = millionths(&b.rate) else { return matched };
    let expected = fee_of(b.settlement_fen, rate);
    // A refund gives its fee back.
    let expected = if b.fee < 0 { -expected } else { expected };
    if b.fee.saturating_sub(expected).saturating_abs() > tolerance { wrong(expected) } else { matched }
}

/// The fee on an amount, rounded to whole fen, half a fen upwards, in 1/100,000 yuan.
fn fee_of(fen: i64, rate: i64) -> i64 {
    let exact = i128::from(fen) * i128::from(rate);
    let rounded = (exact.abs() + MILLION / 2) / MILLION * exact.signum();
    i64::try_from(rounded * i128::from(PER_FEN)).unwrap_or(i64::MAX)
}

/// `0.60%` is 6000.
fn millionths(rate: &str) -> Option<i64> {
    let (whole, fraction) = rate.strip_suffix('%').map(|text| text.split_once('.').unwrap_or((text, "0")))?;
    let digits = |text: &str| !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<4}").parse().ok()
}

/// A row of the bill that we do not have on this day; `elsewhere` is our row of another day.
pub fn only_in_bill(bill: &BillItem, found: &Found, rules: &Rules) -> Verdict {
    if matches!(found, Found::Near(_)) {
        return Verdict::of(LineClass::Carried);
    }
    let number = bill.ids.out_trade_no.as_str();
    if rules.foreign.iter().any(|prefix| !prefix.is_empty() && number.starts_with(prefix.as_str())) {
        return Verdict::covered(LineClass::Foreign, "reconcile.foreign");
    }
    Verdict::of(match bill.ids.kind {
        LineKind::Payment => LineClass::MissingHere,
        LineKind::Refund => LineClass::RefundMissingHere,
    })
}

/// A row of ours that the bill of this day does not have.
pub fn only_in_ledger(ledger: &LedgerItem, found: &Found) -> Verdict {
    Verdict::of(match (found, ledger.ids.kind) {
        (Found::Near(_) | Found::Awaited, _) => LineClass::Carried,
        (Found::Nowhere, LineKind::Payment) => LineClass::MissingInBill,
        (Found::Nowhere, LineKind::Refund) => LineClass::RefundMissingInBill,
    })
}

/// A row that the bill has a second time.
pub fn repeated(_: &BillItem) -> Verdict {
    Verdict::of(LineClass::Duplicate)
}
