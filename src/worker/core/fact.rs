//! A fact to be applied to its order, and the result.

use std::sync::Arc;

use crate::bus::Ending;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::event::fact::Fact;
use crate::ids::{MerchantKey, OutTradeNo};
use crate::money::Fen;
use crate::order::{PaymentClass, Refusal};
use crate::store::queue::NewRow;
use crate::store::{
    AttemptParams, CallRecord, DbError, EvidenceSource, IntakeStep, NotificationRecord, Store, StoredOrder,
};
use crate::trade::SignType;

/// A fact to be applied to its order.
#[derive(Debug, Clone)]
pub struct Item {
    /// The configuration of the delivery it came with.
    pub config: Arc<Config>,
    /// The merchant.
    pub merchant: MerchantKey,
    /// The attempt it is about.
    pub out_trade_no: OutTradeNo,
    /// What was reported.
    pub fact: Fact,
    /// Where it came from.
    pub source: EvidenceSource,
    /// When it was received.
    pub received_at: Timestamp,
    /// The notification it came in, to be recorded with the verdict.
    pub notification: Option<NotificationRecord>,
    /// How the notification was signed.
    pub sign_type: Option<SignType>,
    /// The parameters of the attempt that is requested.
    pub wanted: Option<AttemptParams>,
    /// Its order, if this process has just recorded it: decided on without a load, unless it has changed since.
    pub recorded: Option<Arc<StoredOrder>>,
    /// Before the call that brought it no call of the attempt can have been executed.
    pub never_placed: bool,
    /// The calls to WeChat that were made for it.
    pub calls: Vec<CallRecord>,
    /// The delivery that ends with the fact, unless the fact is refused.
    pub ending: Option<Ending>,
}

impl Item {
    /// A fact from another source than a notification.
    pub fn new(
        config: &Arc<Config>,
        merchant: MerchantKey,
        out_trade_no: OutTradeNo,
        fact: Fact,
        source: EvidenceSource,
        at: Timestamp,
    ) -> Item {
        Item {
            config: Arc::clone(config),
            merchant,
            out_trade_no,
            fact,
            source,
            received_at: at,
            notification: None,
            sign_type: None,
            wanted: None,
            recorded: None,
            never_placed: false,
            calls: Vec::new(),
            ending: None,
        }
    }
}

impl Item {
    /// What the payment that it names is known as.
    pub async fn owner(&self, store: &Store) -> Result<Owner, DbError> {
        let (Fact::Paid(payment) | Fact::Refunded(payment)) = &self.fact else { return Ok(Owner::NotKnown) };
        let (merchant, number) = (&self.merchant, &payment.transaction_id);
        if let Some(known) = store.payment(merchant, number).await?.filter(|known| known.order_no.is_none()) {
            let goes_back = known.class == PaymentClass::Returned || known.reserved > Fen::ZERO;
            return Ok(Owner::NoOrder(goes_back.then_some(known.class)));
        }
        let is_of_another = store.is_of_another_attempt(merchant, number, &self.out_trade_no).await?;
        Ok(if is_of_another { Owner::Another } else { Owner::NotKnown })
    }
}

/// What the payment that an item names is known as.
pub enum Owner {
    /// Of no order; its class where it goes or went back.
    NoOrder(Option<PaymentClass>),
    /// Of another attempt.
    Another,
    NotKnown,
}

/// The result of applying a fact, returned once it is durable.
#[derive(Debug, Clone)]
pub enum Applied {
    /// The order changed; its new state, with the parameters of its attempts.
    Changed(Box<StoredOrder>),
    /// A notification changed the order. What the order is now is not read, and not copied for that.
    Settled,
    /// The order contains the fact already.
    Already,
    /// Nothing changed; WeChat is to be queried again.
    AskAgain {
        /// The unchanged order.
        order: Box<StoredOrder>,
        /// When.
        at: Timestamp,
        /// Whether the unified order must be repeated.
        resubmit: bool,
    },
    /// The fact contradicts the order, or its transaction is another order's.
    Refused {
        /// The contradiction.
        refusal: Refusal,
        /// Whether the order had no such flag before: only the first refusal emits an event.
        first: bool,
    },
    /// No order has this attempt.
    UnknownOrder,
}

impl Applied {
    /// Whether nothing is left to do about the message that brought the fact.
    pub fn ends_delivery(&self) -> bool {
        match self {
            Applied::Changed(_) | Applied::Settled | Applied::Already | Applied::AskAgain { .. } => true,
            Applied::Refused { .. } | Applied::UnknownOrder => false,
        }
    }
}

/// Records of the intake log that are settled in one write.
pub(in crate::worker) struct LogGroup {
    /// The cursor's move past all of them, with what moves to the queue in any case.
    pub step: IntakeStep,
    /// The message of an item, in the form of the queue: most are never asked for.
    pub row_of: Box<dyn Fn(usize) -> Result<NewRow, DbError> + Send + Sync>,
}
