//! Records in bytes: whole, cut off and changed at every byte.

use wxpay_worker::intake::{Found, frame_of, scan};

const FIRST: &[u8] = b"pay.in.main.notify.received\nfirst";
const LAST: &[u8] = b"pay.in.main.notify.received\nlast, a little longer";

fn two() -> (Vec<u8>, usize) {
    let first = frame_of(&[FIRST]).unwrap();
    let boundary = first.len();
    ([first, frame_of(&[LAST]).unwrap()].concat(), boundary)
}

fn records(bytes: &[u8]) -> Vec<&[u8]> {
    let record = |found: Found| match found {
        Found::Record { bytes: range, .. } => Some(&bytes[range]),
        Found::Damaged(_) => None,
    };
    scan(bytes).into_iter().filter_map(record).collect()
}

#[test]
fn whole_records_are_found_in_their_order() {
    let (bytes, boundary) = two();
    assert_eq!(records(&bytes), [FIRST, LAST]);
    let places: Vec<usize> = scan(&bytes)
        .into_iter()
        .map(|found| match found {
            Found::Record { at, .. } => at,
            Found::Damaged(range) => panic!("damage at {range:?}"),
        })
        .collect();
    assert_eq!(places, [0, boundary]);
    assert_eq!(scan(&[]), []);
}

#[test]
fn a_last_record_cut_off_at_any_byte_costs_itself_alone() {
    let (bytes, boundary) = two();
    for end in boundary + 1..bytes.len() {
        let cut = &bytes[..end];
        assert_eq!(records(cut), [FIRST], "cut off at {end}");
        assert_eq!(scan(cut).last(), Some(&Found::Damaged(boundary..end)), "cut off at {end}");
    }
}

#[test]
fn a_changed_bit_costs_its_own_record_and_no_other() {
    let (whole, boundary) = two();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let left = if at < boundary { LAST } else { FIRST };
            assert_eq!(records(&bytes), [left], "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn zeros_behind_the_last_record_are_damage_at_the_end() {
    let (mut bytes, _) = two();
    let end = bytes.len();
    bytes.resize(end + 4096, 0);
    assert_eq!(records(&bytes), [FIRST, LAST]);
    assert_eq!(scan(&bytes).last(), Some(&Found::Damaged(end..end + 4096)));
}

#[test]
fn what_lies_behind_damage_is_read() {
    let (bytes, boundary) = two();
    let damaged = [&bytes[..boundary], &[0x5a; 100], &bytes[boundary..]].concat();
    assert_eq!(records(&damaged), [FIRST, LAST]);
}

#[test]
fn a_record_that_is_too_large_has_no_frame() {
    assert_eq!(frame_of(&[&vec![0; 5 * 1024 * 1024]]), None);
}
