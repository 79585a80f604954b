//! `/pay/closeorder`: the merchant takes an unpaid order back.
//!
//! WeChat recommends five minutes between placing and closing. Closing earlier is not refused; the ledger shows it.

use super::answer::{Reply, with};
use super::check::{Message, lengths, malformed, required};
use crate::ids::OutTradeNo;
use crate::sandbox::ledger::account::Refused;
use crate::sandbox::state::SandboxState;
use crate::wechat::v2::xml::Fields;

pub(super) fn execute(sandbox: &SandboxState, message: &Message<'_>) -> Reply {
    lengths(&message.fields, &[("out_trade_no", 32)])?;
    let text = required(&message.fields, "out_trade_no")?;
    let out_trade_no = OutTradeNo::parse(text).map_err(|_| malformed("out_trade_no"))?;
    let mch_id = &message.account.mch_id;
    let mut book = sandbox.book();
    // Another app of the same merchant does not see it.
    book.order(mch_id.as_str(), text).filter(|o| o.terms.appid == message.appid).ok_or(Refused::NotFound)?;
    book.close(mch_id, &out_trade_no, sandbox.now())?;
    Ok(with(Fields::new(), &[("result_msg", "OK")]))
}
