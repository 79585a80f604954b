//! Coupons: numbered elements, `coupon_id_0`, in refund queries numbered twice (`coupon_refund_id_1_0`).
//!
//! The documentation writes `coupon_id_$n`; the dollar sign is never on the wire. Which coupons paid is detail for
//! finance, never part of a decision: an unreadable coupon is left out.

use super::reply::text;
use super::xml::Fields;
use crate::money::Fen;

/// One coupon's part in a payment or a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coupon {
    /// Its number in the message, from 0.
    pub index: u32,
    /// `coupon_type`: `CASH` (charged before) or `NO_CASH`; merchants without free coupons get none.
    pub kind: Option<String>,
    /// `coupon_id`.
    pub id: String,
    /// What it paid, or what went back to it.
    pub fee: Fen,
}

/// The coupons of a payment (query reply, notification).
pub fn of_payment(fields: &Fields) -> Vec<Coupon> {
    read(fields, "coupon_id_", "coupon_fee_", "coupon_type_", "")
}

/// The coupons of an accepted refund.
pub fn of_refund(fields: &Fields) -> Vec<Coupon> {
    read(fields, "coupon_refund_id_", "coupon_refund_fee_", "coupon_type_", "")
}

/// The coupons of the `n`-th refund of a refund query's reply.
pub fn of_nth_refund(fields: &Fields, n: u32) -> Vec<Coupon> {
    read(fields, "coupon_refund_id_", "coupon_refund_fee_", "coupon_type_", &format!("{n}_"))
}

fn read(fields: &Fields, id: &str, fee: &str, kind: &str, middle: &str) -> Vec<Coupon> {
    let prefix = format!("{id}{middle}");
    let mut coupons: Vec<Coupon> = fields
        .range(prefix.clone()..)
        .take_while(|(name, _)| name.starts_with(&prefix))
        .filter_map(|(name, value)| {
            let index: u32 = name[prefix.len()..].parse().ok()?;
            let fee = Fen::parse_field(text(fields, &format!("{fee}{middle}{index}"))).ok()?;
            let kind = text(fields, &format!("{kind}{middle}{index}"));
            let kind = Some(kind).filter(|k| !k.is_empty()).map(str::to_owned);
            Some(Coupon { index, kind, id: value.clone(), fee })
        })
        .collect();
    // The map's order is that of text, where 10 comes before 2.
    coupons.sort_by_key(|coupon| coupon.index);
    coupons
}
