//! The keys of `[reconcile]`, and what is said of a merchant's other systems.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::sections::Reconcile;

pub(in crate::config) fn reconcile(r: &mut Reader<'_>) -> Option<Reconcile> {
    let schedule = r.flag("schedule");
    let fund_flow = r.flag("fund_flow");
    let dir = r.optional("dir", |text| Ok(PathBuf::from(text)));
    let temp_dir = r.optional("temp_dir", |text| Ok(PathBuf::from(text)));
    let keep_days = r.number("keep_days", 0..=3_650);
    let buffer_mb = r.number("buffer_mb", 1..=1_024);
    let foreign = r.items("foreign", prefix);
    Some(Reconcile {
        schedule: schedule?,
        fund_flow: fund_flow?,
        dir: dir?,
        temp_dir: temp_dir?,
        keep: Duration::from_secs(keep_days?.unsigned_abs() * 86_400),
        buffer_bytes: usize::try_from(buffer_mb?).ok()?.saturating_mul(1 << 20),
        foreign: foreign?,
    })
}

/// The beginning of an `out_trade_no`.
pub(in crate::config) fn prefix(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-|*@".contains(&b);
    if !text.is_empty() && text.len() <= 32 && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("must be the beginning of an out_trade_no: 1 to 32 of 0-9 A-Z a-z _ - | * @".to_owned())
    }
}
