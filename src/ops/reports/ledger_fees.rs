//! Fees of rows of the ledger, from the bills that are kept here. WeChat is not asked.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::MerchantKey;
use crate::reconcile::BillFees;
use crate::reconciliation::{Ids, LineKind};
use crate::store::{BookRow, DbError, Store};

/// The fee of each row in 1/100,000 yuan: of a payment as it entered, and of a refund, once their day was compared.
/// None where the bill is not kept, or has the row on another day.
pub async fn ledger_fees(
    (config, store): (&Config, &Store),
    merchant: &MerchantKey,
    lines: &[&BookRow],
) -> Result<Vec<Option<i64>>, DbError> {
    let mut fees = vec![None; lines.len()];
    let Some(of) = config.merchant(merchant.as_str()).filter(|_| !config.reconcile.keep.is_zero()) else {
        return Ok(fees);
    };
    let mut days = BTreeMap::<String, Vec<(usize, Ids)>>::new();
    for (n, row) in lines.iter().enumerate() {
        if let Some(at) = billed_at(row) {
            days.entry(at.to_beijing_day()).or_default().push((n, ids_of(row)));
        }
    }
    for (day, rows) in days {
        let result = store.reconciliation(merchant, &day).await?;
        if result.is_none_or(|day| day.bill_hash.is_none()) {
            continue;
        }
        let found = match BillFees::of_kept(config, of, &day).await {
            Ok(Some(bill)) => tokio::task::spawn_blocking(move || {
                rows.into_iter().map(|(n, ids)| Ok((n, bill.find(&ids)?))).collect::<std::io::Result<Vec<_>>>()
            })
            .await
            .map_err(|e| DbError::Defect(e.to_string()))?
            .map_err(|e| e.to_string()),
            Ok(None) => continue,
            Err(e) => Err(e.to_string()),
        };
        match found {
            Ok(found) => {
                for (n, side) in found {
                    if let Some(fee) = fees.get_mut(n) {
                        *fee = side.map(|side| side.fee);
                    }
                }
            }
            Err(e) => {
                tracing::warn!(%merchant, day, error = e, "rows of the ledger have no fees: the bill cannot be read")
            }
        }
    }
    Ok(fees)
}

/// When WeChat's bill has it; none of a change of class.
fn billed_at(row: &BookRow) -> Option<Timestamp> {
    (row.key.is_refund || row.entry == "payment").then_some(row.billed_at)
}

fn ids_of(row: &BookRow) -> Ids {
    Ids {
        kind: if row.key.is_refund { LineKind::Refund } else { LineKind::Payment },
        transaction_id: row.transaction_id.clone(),
        out_trade_no: String::new(),
        refund_no: row.refund_no.clone(),
        refund_id: None,
    }
}
