//! What finance has to do: red days, bills that are missing, months to close, webhooks that do not arrive.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::MerchantKey;
use crate::ops::Operator;
use crate::ops::reports::{Month, ready_to_close};
use crate::store::{DayFilter, DbError, MissingBills, Reconciliation, Store, WebhookEndpoint};
use crate::wechat::v2::bill::BillDay;

/// Rows of each kind; one more is read, so that the page can say that there are more.
pub const MAX_LISTED: usize = 5;

/// The bill of a day should be there at noon of the next one.
const NOON: Duration = Duration::from_secs(12 * 3600);
/// What WeChat does not keep any more, no request brings.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// An endpoint that has not succeeded for this long is no mere interruption.
const FAILING: Duration = Duration::from_secs(600);

/// What the bills ask of a person.
#[derive(Debug, Clone, Default)]
pub struct Bills {
    /// Days with open lines or a remainder, the newest first.
    pub red: Vec<Reconciliation>,
    /// By merchant.
    pub missing: Vec<MissingBills>,
}

impl Bills {
    pub fn is_nothing(&self) -> bool {
        self.red.is_empty() && self.missing.is_empty()
    }
}

/// One more than is shown.
fn read_at_most() -> u64 {
    MAX_LISTED as u64 + 1
}

/// Red days, and bills that should have been there.
pub(super) async fn bills(store: &Store, operator: &Operator, now: Timestamp) -> Result<Bills, DbError> {
    let red = DayFilter { merchants: operator.merchants.clone(), is_red: true, ..DayFilter::default() };
    let red = store.reconciliations(&red, None, read_at_most()).await?;
    let yesterday = BillDay::of(now).previous();
    let newest = if now >= yesterday.ends_at().after(NOON) { yesterday } else { yesterday.previous() };
    let (oldest, newest) = (BillDay::of(now.before(KEPT)).to_string(), newest.to_string());
    let mut missing = store.missing_bill_days((oldest.as_str(), newest.as_str())).await?;
    missing.retain(|bills| operator.sees(&bills.merchant));
    Ok(Bills { red, missing })
}

/// The next month of each merchant where it can be closed.
pub(super) async fn months(
    store: &Store,
    config: &Config,
    operator: &Operator,
    now: Timestamp,
) -> Result<Vec<(MerchantKey, Month)>, DbError> {
    let mut months = Vec::new();
    for merchant in config.merchants.iter().map(|merchant| &merchant.key).filter(|merchant| operator.sees(merchant)) {
        if let Some(month) = ready_to_close(store, merchant, now).await? {
            months.push((merchant.clone(), month));
        }
    }
    Ok(months)
}

/// Endpoints that are disabled or have failed for a while.
pub(super) async fn endpoints(
    store: &Store,
    operator: &Operator,
    now: Timestamp,
) -> Result<Vec<WebhookEndpoint>, DbError> {
    store.failing_webhooks(operator.merchants.as_deref(), now.before(FAILING), read_at_most()).await
}
