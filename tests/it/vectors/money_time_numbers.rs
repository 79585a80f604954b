use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::OutTradeNo;
use wxpay_worker::money::Fen;

#[test]
fn every_amount_vector_is_exact_or_rejected() {
    for v in super::of("amount", 15) {
        match Fen::from_yuan(v.input("yuan")) {
            Ok(fen) => assert_eq!(Some(fen.as_i64()), v.expected["fen"].as_i64(), "{}", v.name),
            Err(error) => assert!(v.is_rejected(), "{}: {error}", v.name),
        }
    }
}

#[test]
fn every_time_vector_is_beijing_time_or_rejected() {
    for v in super::of("time", 7) {
        match Timestamp::parse_beijing(v.input("beijing")) {
            Ok(time) => {
                assert_eq!(Some(time.as_seconds()), v.expected["epoch"].as_i64(), "{}", v.name);
                assert_eq!(time, Timestamp::parse_rfc3339(v.expects("utc")).unwrap(), "{}", v.name);
                assert_eq!(time.to_beijing(), v.input("beijing"), "{}", v.name);
            }
            Err(error) => assert!(v.is_rejected(), "{}: {error}", v.name),
        }
    }
}

#[test]
fn every_order_number_vector_is_valid_as_it_says() {
    for v in super::of("order-number", 11) {
        let valid = v.expected["valid"].as_bool().unwrap();
        assert_eq!(OutTradeNo::parse(v.input("out_trade_no")).is_ok(), valid, "{}", v.name);
    }
}
