//! A payment of no order, entered on WeChat's word.

use super::mended::Mended;
use super::repair::Repair;
use crate::config::Merchant;
use crate::event::fact::{Fact, Payment};
use crate::ids::TransactionId;
use crate::store::{DbError, Line, LineChange, Reconciliation};
use crate::wechat::v2::query;
use crate::wechat::v2::query::Asked;

/// Asks WeChat about a payment of no order and enters what it confirms, with the change of its line.
pub(super) async fn enter(
    on: Repair<'_>,
    merchant: &Merchant,
    (of, line): (&Reconciliation, &Line),
    change: &LineChange,
) -> Result<Mended, DbError> {
    let refused = |why: &str| Ok(Mended::Refused(why.to_owned()));
    let Ok(transaction_id) = TransactionId::parse(line.transaction_id.clone()) else {
        return refused("the bill's number is none of WeChat's");
    };
    // Any app of the merchant may ask; the one that took the payment first.
    let mut apps = on.config.app_ids(merchant);
    apps.sort_by_key(|app| Some(app.as_str()) != line.bill_appid.as_deref());
    let Some(app) = apps.first() else { return refused("the merchant has no app to ask through") };
    let said = match query::ask_payment(on.wechat, merchant, app, &transaction_id).await {
        Asked::Fact(Fact::Paid(said) | Fact::Refunded(said), _) => said,
        Asked::Fact(_, _) => return refused("WeChat knows no such payment"),
        Asked::Refused(error) => return refused(&format!("WeChat refuses the query: {}", error.message)),
        Asked::Unknown { why, .. } => return Ok(Mended::Waiting(why)),
    };
    if !is_same(&said, line, merchant) {
        return refused("WeChat holds another payment under this number than its bill says");
    }
    let is_new = on.store.enter_queried(of, &said, change, on.clock.now()).await?;
    Ok(if is_new { Mended::Entered } else { Mended::Known })
}

fn is_same(said: &Payment, line: &Line, merchant: &Merchant) -> bool {
    let number = Some(said.out_trade_no.as_str());
    said.mch_id == merchant.mch_id
        && number == line.out_trade_no.as_deref()
        && Some(said.total_fee.as_i64()) == line.bill_fen
        && Some(said.fee_type.as_str()) == line.bill_currency.as_deref()
}
