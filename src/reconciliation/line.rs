//! Classes, resolutions, and a difference with both sides.

use super::side::{BillSide, Ids, LedgerSide, YUAN};

/// What a pair of rows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineClass {
    /// Both sides say the same. Counted, never stored.
    Matched,
    /// 长款: a payment in the bill that our books do not have.
    MissingHere,
    /// 短款: a payment of ours that the bill does not have.
    MissingInBill,
    Amount,
    /// The bill's fee is not what its rate comes to, or not what was booked on the account.
    Fee,
    Status,
    /// The bill has the row a second time.
    Duplicate,
    RefundMissingHere,
    RefundMissingInBill,
    RefundAmount,
    /// WeChat has accepted the refund, and it has not come to its end.
    RefundPending,
    /// WeChat has accepted the refund and it failed: the bill keeps it.
    RefundReversed,
    Currency,
    /// Of another system under the same merchant number.
    Foreign,
    /// The sides have it on different days, three apart at most.
    Carried,
}

named!(LineClass {
    Matched = "matched",
    MissingHere = "missing_here",
    MissingInBill = "missing_in_bill",
    Amount = "amount",
    Fee = "fee",
    Status = "status",
    Duplicate = "duplicate",
    RefundMissingHere = "refund_missing_here",
    RefundMissingInBill = "refund_missing_in_bill",
    RefundAmount = "refund_amount",
    RefundPending = "refund_pending",
    RefundReversed = "refund_reversed",
    Currency = "currency",
    Foreign = "foreign",
    Carried = "carried",
});

impl LineClass {
    /// Whether such a line must be explained.
    pub const fn is_difference(self) -> bool {
        !matches!(self, LineClass::Matched | LineClass::Carried)
    }

    /// Its name in finance's Chinese.
    pub const fn chinese(self) -> &'static str {
        match self {
            LineClass::MissingHere => "长款",
            LineClass::MissingInBill => "短款",
            LineClass::Amount => "金额不一致",
            LineClass::Fee => "手续费差异",
            LineClass::Status => "状态不一致",
            LineClass::Duplicate => "重复",
            LineClass::RefundMissingHere => "退款单边（账单有）",
            LineClass::RefundMissingInBill => "退款单边（账簿有）",
            LineClass::RefundAmount => "退款金额不一致",
            LineClass::RefundPending => "退款处理中",
            LineClass::RefundReversed => "退款失败",
            LineClass::Currency => "币种不一致",
            LineClass::Foreign => "其他系统",
            LineClass::Carried => "跨日",
            LineClass::Matched => "一致",
        }
    }
}

/// How a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// There is nothing to explain: it is carried.
    None,
    Open,
    /// A person explained it with a note.
    Resolved,
    /// A repair was made; the next run of the day shows its result.
    Repaired,
    /// A rule explains it.
    Covered,
}

named!(Resolution {
    None = "none",
    Open = "open",
    Resolved = "resolved",
    Repaired = "repaired",
    Covered = "covered",
});

/// What classifying a pair came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub class: LineClass,
    pub resolution: Resolution,
    /// The rule that covers it.
    pub rule: Option<&'static str>,
    /// What the fee should be, where it is not that, in 1/100,000 yuan.
    pub expected_fee: Option<i64>,
}

impl Verdict {
    /// Of a class that no rule covers.
    pub const fn of(class: LineClass) -> Verdict {
        let resolution = if class.is_difference() { Resolution::Open } else { Resolution::None };
        Verdict { class, resolution, rule: None, expected_fee: None }
    }

    /// Of a line that a rule explains.
    pub const fn covered(class: LineClass, rule: &'static str) -> Verdict {
        Verdict { class, resolution: Resolution::Covered, rule: Some(rule), expected_fee: None }
    }
}

/// A difference, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    pub ids: Ids,
    pub order_no: Option<String>,
    pub verdict: Verdict,
    pub bill: Option<BillSide>,
    pub ledger: Option<LedgerSide>,
    /// What was booked as its fee on the account, in 1/100,000 yuan.
    pub booked_fee: Option<i64>,
    /// The day on which the other side has it.
    pub other_day: Option<String>,
    /// How many rows of the bill before this one have the same key.
    pub repeat: u32,
}

impl NewLine {
    /// The bill's amount less ours, as it changes the total. Where both are in different currencies, the bill's.
    pub fn explains_fen(&self) -> i64 {
        let bill = self.bill.as_ref().map_or(0, |side| side.fen);
        let ledger = if self.is_mixed() { 0 } else { self.ours_fen() };
        self.ids.kind.signed(bill.saturating_sub(ledger))
    }

    /// Ours, as it changes the total, where the bill has it in another currency.
    pub fn explains_ours_fen(&self) -> Option<i64> {
        self.is_mixed().then(|| self.ids.kind.signed(-self.ours_fen()))
    }

    /// What it changes the totals by, per currency.
    pub fn explains(&self) -> Vec<(String, i64)> {
        let currency = |text: &str| if text.is_empty() { YUAN.to_owned() } else { text.to_owned() };
        let (bill, ledger) = (self.bill.as_ref(), self.ledger.as_ref());
        let of = bill.map(|side| currency(&side.currency)).or_else(|| ledger.map(|side| currency(&side.currency)));
        let own = of.map(|of| (of, self.explains_fen()));
        let ours = self.explains_ours_fen().zip(ledger).map(|(fen, side)| (currency(&side.currency), fen));
        own.into_iter().chain(ours).collect()
    }

    fn is_mixed(&self) -> bool {
        let both = self.bill.as_ref().zip(self.ledger.as_ref());
        both.is_some_and(|(bill, ledger)| bill.currency != ledger.currency)
    }

    /// What our books have of it on this day.
    fn ours_fen(&self) -> i64 {
        // Of a row that the bill repeats, the first has our side already. Of one that we have on another day, that
        // day has it.
        let is_elsewhere = self.repeat > 0 || (self.bill.is_some() && self.other_day.is_some());
        self.ledger.as_ref().filter(|_| !is_elsewhere).map_or(0, LedgerSide::counted_fen)
    }

    /// The same for the same difference in a later run: a note stays with it.
    pub fn key(&self) -> String {
        let fen = |side: Option<i64>| side.map_or_else(|| "-".to_owned(), |fen| fen.to_string());
        let bill = self.bill.as_ref();
        format!(
            "{}|{}|{}|{}|{}|{}|{}|{}",
            self.verdict.class.as_str(),
            self.ids.transaction_id,
            self.ids.refund_no.as_deref().unwrap_or_default(),
            self.ids.refund_id.as_deref().filter(|_| self.ids.refund_no.is_none()).unwrap_or_default(),
            fen(bill.map(|side| side.fen)),
            fen(bill.map(|side| side.fee).filter(|_| self.verdict.class == LineClass::Fee)),
            fen(self.ledger.as_ref().map(|side| side.fen)),
            self.repeat
        )
    }
}
