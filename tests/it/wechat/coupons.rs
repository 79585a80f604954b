use wxpay_worker::wechat::v2::coupon::{of_nth_refund, of_payment};
use wxpay_worker::wechat::v2::payment;
use wxpay_worker::wechat::v2::xml::Fields;

fn put(fields: &mut Fields, name: String, value: impl ToString) {
    fields.insert(name, value.to_string());
}

#[test]
fn coupons_come_in_the_order_of_their_numbers() {
    let mut fields = Fields::new();
    for n in 0..12 {
        put(&mut fields, format!("coupon_id_{n}"), 100 + n);
        put(&mut fields, format!("coupon_fee_{n}"), n + 1);
    }
    let coupons = of_payment(&fields);
    let seen: Vec<_> = coupons.iter().map(|c| (c.index, c.id.as_str(), c.fee.as_i64(), c.kind.as_deref())).collect();
    assert_eq!(seen.len(), 12);
    assert_eq!(seen[2], (2, "102", 3, None));
    assert_eq!(seen[10], (10, "110", 11, None));
}

#[test]
fn a_refunds_coupons_are_not_its_neighbours() {
    let mut fields = Fields::new();
    for (n, m) in [(0, 0), (1, 0), (1, 1), (10, 0)] {
        put(&mut fields, format!("coupon_refund_id_{n}_{m}"), format!("c{n}{m}"));
        put(&mut fields, format!("coupon_refund_fee_{n}_{m}"), 1);
    }
    let ids = |n| of_nth_refund(&fields, n).into_iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(ids(0), ["c00"]);
    assert_eq!(ids(1), ["c10", "c11"]);
    assert_eq!(ids(10), ["c100"]);
    assert_eq!(ids(2), [""; 0]);
}

#[test]
fn a_coupon_without_a_readable_amount_is_left_out() {
    let mut fields = Fields::new();
    put(&mut fields, "coupon_id_$0".into(), 1);
    put(&mut fields, "coupon_id_1".into(), 2);
    put(&mut fields, "coupon_fee_1".into(), "1.5");
    put(&mut fields, "coupon_id_2".into(), 3);
    assert_eq!(of_payment(&fields), []);
}

#[test]
fn a_payment_has_its_coupons_and_stays_one_without_those_that_are_not_readable() {
    let mut fields = Fields::new();
    for (name, value) in [
        ("mch_id", "1900000109"),
        ("appid", "wx8888888888888888"),
        ("out_trade_no", "A100001"),
        ("transaction_id", "4200001"),
        ("total_fee", "1000"),
        ("time_end", "20250102111633"),
    ] {
        put(&mut fields, name.into(), value);
    }
    let ids = |fields: &Fields| payment::parse(fields).unwrap().coupons.into_iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(ids(&fields), [""; 0]);
    for n in 0..120 {
        put(&mut fields, format!("coupon_id_{n}"), 100 + n);
        put(&mut fields, format!("coupon_fee_{n}"), 1);
    }
    put(&mut fields, "coupon_id_1".into(), "a\nb");
    put(&mut fields, "coupon_id_2".into(), "9".repeat(65));
    let kept = ids(&fields);
    assert_eq!((kept.len(), kept[0].as_str(), kept[1].as_str()), (100, "100", "103"), "a hundred at most");
}
