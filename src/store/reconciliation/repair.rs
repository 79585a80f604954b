//! What a repair writes itself: a payment of no order that WeChat confirmed.

use crate::clock::Timestamp;
use crate::event::fact::Payment;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::commit::enter_unmatched;

impl Store {
    /// Enters a payment of no order, that WeChat reported when it was queried, unless it is known.
    pub async fn enter_queried(&self, merchant: &MerchantKey, payment: &Payment, at: Timestamp) -> Result<(), DbError> {
        let evidence = format!("query:{}", payment.transaction_id);
        let write = (merchant.clone(), payment.clone(), evidence, at);
        let enter = self.db.write("payment.queried", write, |tx, (merchant, payment, evidence, at)| {
            Box::pin(enter_unmatched(tx, merchant, payment, evidence.clone(), *at))
        });
        enter.await?;
        self.changed();
        Ok(())
    }
}
