use std::collections::HashSet;

use proptest::prelude::*;
use wxpay_worker::ids::{OrderNo, OutTradeNo};

fn number(order_no: &str, n: u32) -> String {
    OutTradeNo::for_attempt(&OrderNo::parse(order_no).unwrap(), n).to_string()
}

#[test]
fn the_first_attempt_is_the_order_number_where_wechat_allows_it() {
    assert_eq!(number("A100001", 1), "A100001");
    assert_eq!(number("123456", 1), "123456");
    assert_eq!(number(&"x".repeat(32), 1), "x".repeat(32));
    assert_ne!(number("12345", 1), "12345", "five characters are too short for WeChat");
    assert!(number("12345", 1).starts_with("12345_1"));
}

#[test]
fn a_second_attempt_is_not_another_orders_first() {
    let second = number("ABCDEF", 2);
    assert_ne!(second, number("ABCDEF_2", 1));
    assert!(second.starts_with("ABCDEF_2"), "people still find their number: {second}");
    let long = "x".repeat(32);
    assert_ne!(number(&long, 2), number(&long, 3));
    assert_ne!(number(&long, 2), number(&format!("{}y", &long[..31]), 2), "the cut part is in the hash");
}

#[test]
fn ten_thousand_attempts_of_similar_orders_never_meet() {
    let mut seen = HashSet::new();
    for order in 0..1000 {
        for n in 1..=10 {
            assert!(seen.insert(number(&format!("ORDER-{order:026}"), n)), "order {order} attempt {n}");
        }
    }
}

proptest! {
    #[test]
    fn every_attempts_number_is_valid_at_wechat_and_always_the_same(
        order_no in "[0-9A-Za-z_-]{1,32}",
        n in prop_oneof![1u32..20, any::<u32>()],
    ) {
        let text = number(&order_no, n);
        prop_assert!(OutTradeNo::parse(text.clone()).is_ok(), "{}", text);
        prop_assert_eq!(number(&order_no, n), text);
    }
}
