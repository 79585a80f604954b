//! Lists of refunds as WeChat really sends them: without what its own sample lacks, with records of a later time.

use wxpay_worker::money::Fen;
use wxpay_worker::wechat::v2::refund_query;
use wxpay_worker::wechat::v2::refund_query::{Refunds, RefundsAsked, Which};

use super::requests::refund_order;
use super::{app_id, merchant, our_key, out_trade_no, signed_list};

/// A reply with these refunds (number and status), and without `total_fee`.
fn asked(which: &Which, refunds: &[(&str, &str)], more: &[(&str, &str)]) -> RefundsAsked {
    let mut fields = vec![
        ("result_code".to_owned(), "SUCCESS".to_owned()),
        ("transaction_id".to_owned(), "1008".to_owned()),
        ("out_trade_no".to_owned(), "T20250102".to_owned()),
        ("refund_count".to_owned(), refunds.len().to_string()),
    ];
    for (n, (number, status)) in refunds.iter().enumerate() {
        let of = [("out_refund_no", *number), ("refund_id", "5000"), ("refund_fee", "30"), ("refund_status", *status)];
        fields.extend(of.map(|(name, value)| (format!("{name}_{n}"), value.to_owned())));
    }
    fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let body = signed_list(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    refund_query::parse_reply(&merchant(&our_key()), &app_id(), which, body.as_bytes())
}

fn found(asked: RefundsAsked) -> Refunds {
    match asked {
        RefundsAsked::Found(found, _) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_without_total_fee_says_how_the_refund_stands() {
    let ours = Which::Refund(refund_order().out_refund_no);
    let without = found(asked(&ours, &[("R2025", "SUCCESS")], &[]));
    assert_eq!((without.total_fee, without.refunds.len()), (None, 1));
    let with = found(asked(&ours, &[("R2025", "SUCCESS")], &[("total_fee", "100")]));
    assert_eq!(with.total_fee, Some(Fen::from_i64(100)));
    let odd = asked(&ours, &[("R2025", "SUCCESS")], &[("total_fee", "1.00")]);
    assert!(matches!(odd, RefundsAsked::Unknown { .. }), "an amount that is none is no amount: {odd:?}");
}

#[test]
fn another_refunds_unknown_status_or_missing_element_says_nothing_about_ours() {
    let ours = Which::Refund(refund_order().out_refund_no);
    let list = found(asked(&ours, &[("OTHER-1", "A_NEW_STATUS"), ("R2025", "SUCCESS"), ("", "SUCCESS")], &[]));
    assert_eq!(list.refunds.iter().map(|r| r.out_refund_no.as_str()).collect::<Vec<_>>(), ["R2025"]);
    assert_eq!(
        list.unreadable.iter().map(|(n, what)| (*n, what.field)).collect::<Vec<_>>(),
        [(0, "refund_status"), (2, "out_refund_no"),]
    );
    let own = asked(&ours, &[("OTHER-1", "SUCCESS"), ("R2025", "A_NEW_STATUS")], &[]);
    let RefundsAsked::Unknown { why, .. } = own else { panic!("{own:?}") };
    assert!(why.contains("refund_status"), "ours is what cannot be read: {why}");
}

#[test]
fn pages_are_counted_by_their_records_readable_or_not() {
    let refunds: Vec<(String, &str)> =
        (0..10).map(|n| (format!("OTHER-{n}"), if n % 2 == 0 { "SUCCESS" } else { "A_NEW_STATUS" })).collect();
    let refunds: Vec<(&str, &str)> = refunds.iter().map(|(number, status)| (number.as_str(), *status)).collect();
    let which = Which::Attempt(out_trade_no("T20250102"), 0);
    let page = found(asked(&which, &refunds, &[("total_refund_count", "12")]));
    assert_eq!((page.refunds.len(), page.unreadable.len(), page.next_page(0)), (5, 5, Some(10)));
}
