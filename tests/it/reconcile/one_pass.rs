//! The one pass over both sides: each row in exactly one pair.

use std::sync::Arc;

use wxpay_worker::reconcile::{Folder, Pair, RunError, Sides, Sorter, compare, write_bill, write_ledger};
use wxpay_worker::reconciliation::{BillItem, LedgerItem, LineKind, Rules};

use super::classes::{bill, ledger};

fn bill_of(transaction: &str) -> BillItem {
    let mut item = bill(LineKind::Payment);
    item.ids.transaction_id = transaction.into();
    item
}

fn ours_of(transaction: &str) -> LedgerItem {
    let mut item = ledger(LineKind::Payment, "credited");
    item.ids.transaction_id = transaction.into();
    item
}

/// The pairs that are not matched, in short, and how many are.
fn compared(bills: &[BillItem], ours: &[LedgerItem]) -> (Vec<String>, i64) {
    let parent = tempfile::tempdir().unwrap();
    let folder = Arc::new(Folder::create(parent.path()).unwrap());
    let (mut b, mut l) = (Sorter::new(Arc::clone(&folder), 500), Sorter::new(Arc::clone(&folder), 500));
    bills.iter().for_each(|item| b.push(&item.ids.sort_key(), &write_bill(item)).unwrap());
    ours.iter().for_each(|item| l.push(&item.ids.sort_key(), &write_ledger(item)).unwrap());
    let sides = Sides { bill: b.finish().unwrap(), ledger: l.finish().unwrap(), fees: None };
    let mut pairs = Vec::new();
    let sink = |pair: Pair| {
        pairs.push(match pair {
            Pair::Differs { bill, .. } => format!("differs {}", bill.ids.transaction_id),
            Pair::OnlyInBill(bill) => format!("bill {}", bill.ids.transaction_id),
            Pair::OnlyInLedger(ledger) => format!("ours {}", ledger.ids.transaction_id),
            Pair::Repeated { bill, ledger, repeat } => {
                format!("again {} {repeat} {}", bill.ids.transaction_id, ledger.is_some())
            }
        });
        Ok::<(), RunError>(())
    };
    let matched = compare(sides, &Rules::default(), sink).unwrap().matched;
    (pairs, matched)
}

#[test]
fn every_row_is_in_one_pair() {
    assert_eq!(compared(&[], &[]), (vec![], 0));
    let (one, three) = (bill_of("1"), bill_of("3"));
    assert_eq!(compared(&[three.clone(), one.clone()], &[ours_of("1"), ours_of("3")]), (vec![], 2), "in any order");
    let (pairs, matched) = compared(&[one.clone(), three.clone()], &[ours_of("2"), ours_of("3"), ours_of("4")]);
    assert_eq!((pairs, matched), (vec!["bill 1".into(), "ours 2".into(), "ours 4".into()], 1));
    let mut other = three.clone();
    other.side.fen += 1;
    assert_eq!(compared(&[other], &[ours_of("3")]), (vec!["differs 3".into()], 0));
    let twice = [one.clone(), one.clone(), one.clone(), three.clone(), three];
    let again = ["again 1 1 true", "again 1 2 true", "bill 3", "again 3 1 false"].map(String::from).to_vec();
    assert_eq!(compared(&twice, &[ours_of("1")]), (again, 1));
}

#[test]
fn a_payment_and_its_refunds_are_different_rows() {
    let mut refund = bill(LineKind::Refund);
    refund.ids.transaction_id = "1".into();
    let mut second = refund.clone();
    second.ids.refund_no = Some("R2".into());
    let mut ours = ledger(LineKind::Refund, "succeeded");
    ours.ids.transaction_id = "1".into();
    // WeChat's number of the refund is not what they have in common: the bill may lack it.
    ours.ids.refund_id = None;
    let (pairs, matched) = compared(&[second, refund, bill_of("1")], &[ours, ours_of("1")]);
    assert_eq!((pairs, matched), (vec!["bill 1".to_owned()], 2));
}
