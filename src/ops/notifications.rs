//! The archive of notifications.

use super::audit::{self, Viewed};
use super::operator::{Operator, Page};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::{MerchantKey, OrderNo};
use crate::store::{ArchiveCursor, ArchiveFilter, Archived, ArchivedRow, DbError, Store};

/// What a list is narrowed to by numbers.
#[derive(Debug, Clone, Default)]
pub struct About {
    pub order_no: Option<String>,
    /// An order_no, out_trade_no, transaction_id, refund_no, or the notification's id.
    pub any: Option<String>,
}

/// Up to `limit` notifications, newest first.
pub async fn list(
    store: &Store,
    config: &Config,
    filter: ArchiveFilter,
    about: &About,
    limit: u64,
) -> Result<Page<ArchivedRow, ArchiveCursor>, DbError> {
    let merchants: Vec<MerchantKey> = match &filter.merchants {
        Some(merchants) => merchants.clone(),
        None => config.merchants.iter().map(|merchant| merchant.key.clone()).collect(),
    };
    let mut ids: Option<Vec<String>> = None;
    if let Some(order_no) = &about.order_no {
        ids = Some(store.archive_of_order(&merchants, order_no).await?);
    }
    if let Some(any) = &about.any {
        let hits = store.archive_hits(&merchants, any).await?;
        ids = Some(match ids {
            Some(ids) => ids.into_iter().filter(|id| hits.contains(id)).collect(),
            None => hits,
        });
    }
    let rows = store.archive(&ArchiveFilter { ids, ..filter }, limit).await?;
    Ok(Page::of(rows, limit, ArchiveCursor::of))
}

/// One with its bytes and what it changed, if the operator may see its merchant.
pub async fn get(store: &Store, operator: &Operator, id: &str) -> Result<Option<Archived>, DbError> {
    let found = store.archived(id).await?;
    Ok(found.filter(|found| operator.sees_any(MerchantKey::parse(found.row.merchant.as_str()).ok().as_ref())))
}

/// The same for a person or a client, who sees the message. The audit has the view.
pub async fn view(store: &Store, operator: &Operator, id: &str, now: Timestamp) -> Result<Option<Archived>, DbError> {
    let found = get(store, operator, id).await?;
    if let Some(Archived { row, .. }) = &found {
        let viewed = Viewed {
            action: "notification.view",
            subject: format!("notification:{}", row.id),
            merchant: MerchantKey::parse(row.merchant.as_str()).ok(),
            order_no: row.order_no.clone().and_then(|text| OrderNo::parse(text).ok()),
        };
        audit::viewed(store, operator, viewed, now).await?;
    }
    Ok(found)
}
