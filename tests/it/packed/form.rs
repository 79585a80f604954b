//! The packed form: what comes out is what went in, or an error.

use proptest::prelude::*;
use wxpay_worker::store::{Unreadable, pack, unpack};

const CONTEXT: &[&str] = &["wxpay.order.paid.v1", "main", "0199d3c4-7a1e-7c32-9a41-5be0f2c7d110", "A100001"];

/// An event as it is published, from its schema.
fn event() -> String {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/events/wxpay.order.paid.v1.json")).unwrap();
    serde_json::to_string(&schema["examples"][0]).unwrap()
}

/// What a released version packed: rows of it are there for years, so neither the form nor the dictionary changes.
const OF_FORM_1: &str = "01230ccec942432414905ed4c482140750e540273debef7fb17f035008d26656aa0500";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_a_released_version_packed_is_read() {
    let plain = "pay.event.main.order.paid\n{\"order_no\":\"A100001\",\"描述\":\"支付\"}";
    let read = unpack(CONTEXT, &bytes(OF_FORM_1)).map(|plain| String::from_utf8(plain).unwrap());
    let packed: String = pack(CONTEXT, plain.as_bytes()).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(read.as_deref(), Ok(plain), "packed today: {packed}");
}

#[test]
fn an_event_takes_three_tenths_of_its_length() {
    let plain = event();
    let packed = pack(CONTEXT, plain.as_bytes()).unwrap();
    // The words of the business are in no dictionary.
    assert!(packed.len() < plain.len() * 3 / 10, "{} of {}", packed.len(), plain.len());
    assert_eq!(unpack(CONTEXT, &packed).unwrap(), plain.as_bytes());
}

#[test]
fn what_packing_would_not_shorten_stays_as_it_is() {
    assert_eq!(pack(CONTEXT, b""), None);
    assert_eq!(pack(CONTEXT, b"x"), None);
    let mut state = 88_172_645_463_325_252_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[7]
    });
    assert_eq!(pack(CONTEXT, &noise.take(2000).collect::<Vec<u8>>()), None);
    assert_eq!(pack(CONTEXT, &vec![0; (1 << 20) + 1]), None, "longer than what is unpacked again");
    assert_eq!(unpack(CONTEXT, &pack(CONTEXT, &vec![0; 1 << 20]).unwrap()).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn every_damaged_byte_and_every_cut_is_an_error() {
    let packed = pack(CONTEXT, event().as_bytes()).unwrap();
    for at in 0..packed.len() {
        for bit in 0..8 {
            let mut damaged = packed.clone();
            damaged[at] ^= 1 << bit;
            // The padding of the last byte says nothing.
            if let Ok(plain) = unpack(CONTEXT, &damaged) {
                assert_eq!((at, &*plain), (packed.len() - 1, event().as_bytes()), "bit {bit} of byte {at}");
            }
        }
        unpack(CONTEXT, &packed[..at]).unwrap_err();
    }
    assert_eq!(unpack(&["wxpay.order.paid.v1", "other"], &packed), Err(Unreadable::Damaged), "another row's columns");
    assert_eq!(unpack(CONTEXT, &[]), Err(Unreadable::CutOff));
    assert_eq!(unpack(CONTEXT, &[2, 0, 0]), Err(Unreadable::Form));
}

#[test]
fn no_more_is_unpacked_than_the_row_says_and_no_row_says_much() {
    let packed = pack(CONTEXT, &vec![0; 1 << 20]).unwrap();
    assert_eq!(packed[5..8], [0x80, 0x80, 0x40], "a megabyte as a varint");
    let with = |length: &[u8]| [&packed[..5], length, &packed[8..]].concat();
    assert_eq!(unpack(CONTEXT, &with(&[100])), Err(Unreadable::Damaged), "a stream that goes on");
    assert_eq!(unpack(CONTEXT, &with(&[0])), Err(Unreadable::Damaged));
    assert_eq!(unpack(CONTEXT, &with(&[0x81, 0x80, 0x40])), Err(Unreadable::TooLong));
    assert_eq!(unpack(CONTEXT, &with(&[0xff, 0xff, 0xff, 0x7f])), Err(Unreadable::TooLong));
    assert_eq!(unpack(CONTEXT, &with(&[0xff, 0xff, 0xff, 0xff, 0x01])), Err(Unreadable::TooLong));
}

proptest! {
    #[test]
    fn what_comes_out_is_what_went_in(plain in proptest::collection::vec(any::<u8>(), 0..600), times in 1..8_usize) {
        let plain = plain.repeat(times);
        if let Some(packed) = pack(CONTEXT, &plain) {
            prop_assert!(packed.len() < plain.len());
            prop_assert_eq!(unpack(CONTEXT, &packed), Ok(plain));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(packed in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut packed = packed;
        packed.insert(0, 1);
        let _ = unpack(CONTEXT, &packed);
    }
}
