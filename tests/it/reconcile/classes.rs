//! Which class a pair has, pair by pair.

use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::reconciliation::{
    BillFigures, BillItem, BillSide, Booked, CurrencyFigures, DayState, Figures, Found, Ids, LedgerFigures, LedgerItem,
    LedgerSide, LineClass, LineKind, NewLine, Resolution, Rules, both, day_state, only_in_bill, only_in_ledger,
};

use super::assert_proof;
use crate::harness::service::{API_KEY, TestService};
use crate::settling::on_both;

const NOON: i64 = 1_764_216_000_000;

fn ids(kind: LineKind) -> Ids {
    let is_refund = kind == LineKind::Refund;
    Ids {
        kind,
        transaction_id: "4200001".into(),
        out_trade_no: "A100001".into(),
        refund_no: is_refund.then(|| "R1".into()),
        refund_id: is_refund.then(|| "50001".into()),
    }
}

/// 100.00 yuan at 0.60 %: a fee of 0.60.
pub fn bill(kind: LineKind) -> BillItem {
    let (fee, status) = match kind {
        LineKind::Payment => (60_000, "SUCCESS"),
        LineKind::Refund => (-60_000, "PROCESSING"),
    };
    let side = BillSide {
        fen: 10_000,
        currency: "CNY".into(),
        settlement_fen: 10_000,
        fee,
        rate: "0.60%".into(),
        time: Timestamp::from_ms(NOON),
        status: status.into(),
        appid: "wx1".into(),
    };
    BillItem { ids: ids(kind), side }
}

pub fn ledger(kind: LineKind, state: &str) -> LedgerItem {
    let side = LedgerSide {
        fen: 10_000,
        currency: "CNY".into(),
        state: state.into(),
        time: Timestamp::from_ms(NOON),
        counts: kind == LineKind::Payment || state == "succeeded",
        is_certain: true,
    };
    LedgerItem { ids: ids(kind), order_no: Some("A100001".into()), side }
}

fn rules(days_later: i64) -> Rules {
    Rules { foreign: vec!["POS".into()], now_ms: NOON + days_later * 86_400_000 }
}

fn class(b: &BillItem, l: &LedgerItem) -> (&'static str, &'static str) {
    let verdict = both(b, l, None, &rules(1));
    (verdict.class.as_str(), verdict.resolution.as_str())
}

#[test]
fn payments_that_both_sides_have() {
    let paid = ledger(LineKind::Payment, "credited");
    let changed = |change: fn(&mut BillSide)| {
        let mut item = bill(LineKind::Payment);
        change(&mut item.side);
        class(&item, &paid)
    };
    assert_eq!(changed(|_| {}), ("matched", "none"));
    for state in ["held", "unmatched", "returned"] {
        let held = ledger(LineKind::Payment, state);
        assert_eq!(class(&bill(LineKind::Payment), &held).0, "matched", "WeChat has it, whatever it is to us: {state}");
    }
    assert_eq!(changed(|side| side.fen += 1), ("amount", "open"));
    assert_eq!(changed(|side| side.fen -= 1), ("amount", "open"));
    assert_eq!(changed(|side| side.currency = "USD".into()), ("currency", "open"));
    assert_eq!(changed(|side| side.status = "REVOKED".into()), ("status", "open"));
    assert_eq!(changed(|side| side.status = "REFUND".into()), ("status", "open"));
    assert_eq!(changed(|side| side.fee += 1), ("fee", "open"));
    assert_eq!(changed(|side| side.fee = 0), ("fee", "open"));
    assert_eq!(changed(|side| side.rate = "0.38%".into()), ("fee", "open"));
    assert_eq!(changed(|side| side.rate = String::new()).0, "matched", "a rate that is none says nothing");
    assert_eq!(changed(|side| side.rate = "free".into()).0, "matched");
    let coupon = |side: &mut BillSide| {
        (side.settlement_fen, side.fee) = (9_000, 54_000);
    };
    assert_eq!(changed(coupon).0, "matched", "the fee is on what is settled");
    let several = |side: &mut BillSide| {
        (side.currency, side.fen, side.fee) = ("USD".into(), 1, 1);
    };
    assert_eq!(changed(several).0, "currency", "one class, the first that applies");
}

#[test]
fn fees_are_rounded_to_whole_fen_half_a_fen_upwards() {
    let paid = |fen: i64, fee: i64| {
        let (mut b, mut l) = (bill(LineKind::Payment), ledger(LineKind::Payment, "credited"));
        (b.side.fen, b.side.settlement_fen, b.side.fee, l.side.fen) = (fen, fen, fee, fen);
        class(&b, &l).0
    };
    // 0.60 % of 0.83 is 0.00498, of 0.84 0.00504; of 2.50 exactly 0.015.
    for (fen, fee) in [(83, 0), (84, 1_000), (250, 2_000), (249, 1_000), (1, 0), (10_000_000_000, 60_000_000_000)] {
        assert_eq!(paid(fen, fee), "matched", "{fen}");
        assert_eq!(paid(fen, fee + 1_000), "fee", "{fen}");
    }
}

#[test]
fn a_fee_must_be_what_was_booked() {
    let (b, l) = (bill(LineKind::Payment), ledger(LineKind::Payment, "credited"));
    let booked = |fee| both(&b, &l, Some(Booked { fee }), &rules(1));
    assert_eq!(booked(60_000).class, LineClass::Matched);
    assert_eq!(booked(60_999).class, LineClass::Matched, "the account has no fractions of a fen");
    assert_eq!((booked(61_000).class, booked(61_000).expected_fee), (LineClass::Fee, Some(61_000)));
    assert_eq!(booked(0).class, LineClass::Fee);
}

#[test]
fn refunds_that_both_sides_have() {
    let of = |state: &str, change: fn(&mut BillSide)| {
        let mut item = bill(LineKind::Refund);
        change(&mut item.side);
        class(&item, &ledger(LineKind::Refund, state))
    };
    for status in ["SUCCESS", "PROCESSING", "CHANGE"] {
        let mut item = bill(LineKind::Refund);
        item.side.status = status.into();
        let found = class(&item, &ledger(LineKind::Refund, "succeeded")).0;
        assert_eq!(found, "matched", "the bill has the state of its morning: {status}");
    }
    assert_eq!(of("succeeded", |side| side.status = "FAIL".into()), ("status", "open"));
    assert_eq!(of("succeeded", |side| side.fen += 1), ("refund_amount", "open"));
    assert_eq!(of("succeeded", |side| side.currency = "USD".into()), ("currency", "open"));
    assert_eq!(of("succeeded", |side| side.fee -= 2_000), ("fee", "open"));
    assert_eq!(of("failed", |side| side.status = "FAIL".into()), ("refund_reversed", "covered"));
    assert_eq!(of("failed", |_| {}), ("refund_reversed", "covered"), "WeChat itself said that it failed");
    assert_eq!(of("processing", |_| {}), ("refund_pending", "covered"));
    assert_eq!(of("unknown", |_| {}), ("refund_pending", "covered"));
    assert_eq!(of("abnormal", |_| {}), ("refund_pending", "open"), "a person must act");
    let late = both(&bill(LineKind::Refund), &ledger(LineKind::Refund, "processing"), None, &rules(16));
    assert_eq!((late.class, late.resolution), (LineClass::RefundPending, Resolution::Open), "too long on its way");
}

#[test]
fn rows_of_one_side() {
    let near = Found::Near("2025-11-26".into());
    for (kind, here, there) in [
        (LineKind::Payment, "missing_here", "missing_in_bill"),
        (LineKind::Refund, "refund_missing_here", "refund_missing_in_bill"),
    ] {
        let (b, l) = (bill(kind), ledger(kind, "succeeded"));
        let in_bill = |found: &Found| only_in_bill(&b, found, &rules(1));
        let in_ledger = |found: &Found| only_in_ledger(&l, found).class.as_str();
        assert_eq!((in_bill(&Found::Nowhere).class.as_str(), in_ledger(&Found::Nowhere)), (here, there));
        assert_eq!(in_bill(&near).class, LineClass::Carried);
        assert_eq!((in_ledger(&near), in_ledger(&Found::Awaited)), ("carried", "carried"));
        let mut other = b.clone();
        other.ids.out_trade_no = "POS-1".into();
        let foreign = only_in_bill(&other, &Found::Nowhere, &rules(1));
        assert_eq!((foreign.class, foreign.resolution), (LineClass::Foreign, Resolution::Covered));
        other.ids.out_trade_no = "1-POS".into();
        assert_eq!(only_in_bill(&other, &Found::Nowhere, &rules(1)).class.as_str(), here, "a prefix alone");
    }
}

fn line(verdict: LineClass, b: Option<BillItem>, l: Option<LedgerItem>) -> NewLine {
    let kind = b.as_ref().map(|b| b.ids.kind).or(l.as_ref().map(|l| l.ids.kind)).unwrap();
    NewLine {
        ids: ids(kind),
        order_no: None,
        verdict: wxpay_worker::reconciliation::Verdict::of(verdict),
        bill: b.map(|b| b.side),
        ledger: l.map(|l| l.side),
        booked_fee: None,
        other_day: None,
        repeat: 0,
    }
}

#[test]
fn a_line_explains_the_bills_amount_less_ours() {
    let (payment, refund) = (LineKind::Payment, LineKind::Refund);
    let mut larger = bill(payment);
    larger.side.fen += 7;
    let paid = || Some(ledger(payment, "credited"));
    let explains = |line: NewLine| line.explains_fen();
    assert_eq!(explains(line(LineClass::Amount, Some(larger), paid())), 7);
    assert_eq!(explains(line(LineClass::MissingHere, Some(bill(payment)), None)), 10_000);
    assert_eq!(explains(line(LineClass::MissingInBill, None, paid())), -10_000);
    assert_eq!(explains(line(LineClass::RefundMissingHere, Some(bill(refund)), None)), -10_000);
    let back = |state| Some(ledger(refund, state));
    assert_eq!(explains(line(LineClass::RefundMissingInBill, None, back("succeeded"))), 10_000);
    assert_eq!(explains(line(LineClass::RefundPending, Some(bill(refund)), back("processing"))), -10_000);
    assert_eq!(explains(line(LineClass::Fee, Some(bill(payment)), paid())), 0);
    let again = NewLine { repeat: 1, ..line(LineClass::Duplicate, Some(bill(payment)), paid()) };
    assert_eq!(explains(again), 10_000, "the first row has our side already");
    let carried = NewLine { other_day: Some("x".into()), ..line(LineClass::Carried, Some(bill(payment)), paid()) };
    assert_eq!(explains(carried), 10_000, "our side counts on its own day");
    let carried = NewLine { other_day: Some("x".into()), ..line(LineClass::Carried, None, paid()) };
    assert_eq!(explains(carried), -10_000);
    let mut dollars = bill(payment);
    dollars.side.currency = "USD".into();
    let mixed = line(LineClass::Currency, Some(dollars), paid());
    assert_eq!((mixed.explains_fen(), mixed.explains_ours_fen()), (10_000, Some(-10_000)));
    assert_eq!(mixed.explains(), [("USD".to_owned(), 10_000), ("CNY".to_owned(), -10_000)]);
}

#[test]
fn the_key_of_a_line_changes_with_what_it_says() {
    let (b, l) = (bill(LineKind::Payment), ledger(LineKind::Payment, "credited"));
    let key = |change: fn(&mut NewLine)| {
        let mut line = line(LineClass::Amount, Some(b.clone()), Some(l.clone()));
        change(&mut line);
        line.key()
    };
    assert_eq!(key(|_| {}), key(|line| line.bill.as_mut().unwrap().time = Timestamp::from_ms(0)), "not with times");
    for change in [
        |line: &mut NewLine| line.bill.as_mut().unwrap().fen += 1,
        |line: &mut NewLine| line.ledger.as_mut().unwrap().fen += 1,
        |line: &mut NewLine| line.ids.transaction_id.push('1'),
        |line: &mut NewLine| line.verdict.class = LineClass::Fee,
        |line: &mut NewLine| line.repeat += 1,
    ] {
        assert_ne!(key(|_| {}), key(change));
    }
}

#[test]
fn a_day_is_red_while_anything_is_open() {
    let cases = [
        ((0, 0, 0), DayState::Balanced),
        ((3, 0, 0), DayState::Explained),
        ((3, 1, 0), DayState::Red),
        ((0, 0, 1), DayState::Red),
        ((0, 0, -1), DayState::Red),
    ];
    for ((differences, open, remainder), state) in cases {
        assert_eq!(day_state(differences, open, remainder), state, "{differences} {open} {remainder}");
    }
    let sums = CurrencyFigures {
        bill: BillFigures { payments_fen: 500, refunds_fen: 100, ..BillFigures::default() },
        ledger: LedgerFigures { payments_fen: 450, refunds_fen: 100, ..LedgerFigures::default() },
        explained_fen: 40,
        difference_fen: 0,
    };
    assert_eq!(sums.unexplained_fen(), 10, "what no line explains is shown");
    let mut figures = Figures { yuan: sums, ..Figures::default() };
    assert_eq!(figures.remainder(), 10);
    *figures.of("CNY") = CurrencyFigures::default();
    *figures.of("USD") = sums;
    *figures.of("HKD") = sums;
    assert_eq!(figures.remainder(), 2, "two other currencies have one");
}

/// A row of a bill with other cells in the columns of these names.
fn with(names: &str, row: &str, cells: &[(&str, &str)]) -> String {
    let named = |name: &str| cells.iter().find(|(of, _)| *of == name).map(|(_, cell)| *cell);
    let own = row[1..].split(",`").zip(names.split(','));
    format!("`{}", own.map(|(cell, name)| named(name).unwrap_or(cell)).collect::<Vec<_>>().join(",`"))
}

/// A bill with two reversals more, which name no refund: of its payment, and of one with other names.
fn with_reversals(bill: &str, rename: &[(&str, &str)]) -> String {
    let mut lines: Vec<&str> = bill.trim_start_matches('\u{feff}').lines().collect();
    let summary = lines.split_off(lines.len() - 2);
    assert!(lines[0].contains("申请退款金额") && lines.len() == 2, "one payment of one yuan: {bill}");
    let back = [
        ("交易状态", "REVOKED"),
        ("应结订单金额", "0.00"),
        ("退款金额", "1.00"),
        ("手续费", "0.00000"),
        ("订单金额", "0.00"),
        ("申请退款金额", "1.00"),
    ];
    let reversed = with(lines[0], lines[1], &back);
    let other = with(lines[0], &reversed, rename);
    let sums = [("总交易单数", "3"), ("退款总金额", "2.00"), ("申请退款总金额", "2.00")];
    let sums = with(summary[0], summary[1], &sums);
    [lines[0], lines[1], &reversed, &other, summary[0], &sums].join("\n")
}

on_both! {
    async fn a_whole_reversal_leaves_no_remainder(db: TestDb) {
        let service = TestService::new().on(db).config("[reconcile]\nforeign = [\"POS\"]\n").in_process().await;
        let day = service.begin_day().await;
        service.paid("WR000001").await;
        service.end_day().await;
        let bill = format!("{}/v1/reconciliations/main/{day}/bill", service.base);
        let bill = service.http.get(bill).bearer_auth(API_KEY).send().await.unwrap().text().await.unwrap();
        // One of ours, and one of a till.
        let bill = with_reversals(&bill, &[("微信订单号", "4200009999999999"), ("商户订单号", "POS000001")]);
        service.faults(json!([{"on": "downloadbill", "kind": "raw", "body": bill, "times": null}])).await;
        let result = service.reconciled(&day).await;
        let classes = json!({"matched": 1, "duplicate": 1, "foreign": 1});
        assert_eq!((&result["classes"], &result["unexplained_fen"]), (&classes, &json!(0)), "{result}");
        assert_eq!(result["bill"]["refunds_fen"], 200, "{result}");
        let lines = service.lines(&day).await;
        assert!(lines.iter().all(|line| line["explains_fen"] == -100 && line["kind"] == "payment"), "{lines:?}");
        assert_proof(&result, &lines);
        service.leave_books_open("the bill is wrong, the books are not");
        service.finish().await;
    }
}
