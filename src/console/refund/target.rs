//! What a form of a refund is about: a payment of an order, or one of no order.

use std::sync::Arc;

use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::frame::Frame;
use crate::console::links;
use crate::console::nav::Place;
use crate::console::order::{facts, find, transaction};
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::viewer::Viewer;
use crate::ids::{MerchantKey, OutRefundNo, TransactionId};
use crate::store::{PaidAttempt, StoredOrder};

/// What the address names.
pub enum Named {
    /// An order, by its merchant and number. The form names the payment.
    Order(String, String),
    /// A payment, by its merchant and WeChat's number.
    Payment(String, String),
}

impl Named {
    /// The page behind the form.
    pub fn back(&self) -> String {
        match self {
            Named::Order(merchant, order_no) => links::order(merchant, order_no),
            Named::Payment(..) => links::UNMATCHED.to_owned(),
        }
    }

    /// Where the form is posted.
    pub fn action(&self) -> String {
        match self {
            Named::Order(merchant, order_no) => format!("{}/refund", links::order(merchant, order_no)),
            Named::Payment(merchant, transaction_id) => links::refund_of_payment(merchant, transaction_id),
        }
    }

    pub fn place(&self) -> Place {
        match self {
            Named::Order(..) => Place::Orders,
            Named::Payment(..) => Place::Held,
        }
    }

    /// The payment: of the path, or else as the form or the query names it.
    pub fn transaction(&self, named: Option<&str>) -> Result<TransactionId, Fault> {
        match self {
            Named::Order(..) => transaction(named),
            Named::Payment(_, transaction_id) => transaction(Some(transaction_id)),
        }
    }
}

/// A payment that money may go back of.
pub struct Target {
    pub merchant: MerchantKey,
    /// None for a payment of no order.
    pub order: Option<Arc<StoredOrder>>,
    pub payment: PaidAttempt,
}

impl Target {
    /// The payment, if the viewer may see its merchant.
    pub async fn load(
        app: &Console,
        viewer: &Viewer,
        named: &Named,
        transaction: Option<&str>,
    ) -> Result<Target, Fault> {
        let transaction_id = named.transaction(transaction)?;
        let (merchant, order) = match named {
            Named::Order(merchant, order_no) => {
                let order = find(app, viewer, (merchant.clone(), order_no.clone())).await?;
                (order.order.merchant.clone(), Some(order))
            }
            Named::Payment(merchant, _) => {
                let merchant = MerchantKey::parse(merchant.as_str()).ok().filter(|key| viewer.sees(key));
                (merchant.ok_or(Fault::NotFound)?, None)
            }
        };
        let payment = app.store.paid_attempt(&merchant, &transaction_id).await?.ok_or(Fault::NotFound)?;
        if order.as_ref().is_some_and(|order| payment.order_id != Some(order.order.id)) {
            return Err(Fault::NotFound);
        }
        Ok(Target { merchant, order, payment })
    }

    /// The form of the payment's order, where it was asked for as one of no order and has one by now.
    pub fn moved(&self, key: &str) -> Option<String> {
        let order_no = self.payment.order_no.as_ref().filter(|_| self.order.is_none())?;
        let (path, transaction_id) = (links::order(&self.merchant, order_no), &self.payment.transaction_id);
        Some(format!("{path}/refund?transaction_id={transaction_id}&key={key}"))
    }

    /// The number of the refund that the form with this key asks for.
    pub fn refund_no(&self, viewer: &Viewer, key: &str) -> OutRefundNo {
        OutRefundNo::of_key(&self.merchant, &viewer.operator().id, key)
    }

    /// Which payment it is.
    pub fn facts(&self, frame: &Frame, t: &'static Texts) -> Facts {
        let payment = &self.payment;
        let mut facts = match &self.order {
            Some(order) => facts(frame, order),
            None => Facts {
                rows: vec![
                    (frame.w.merchant, Cell::Text(self.merchant.to_string())),
                    (t.class, Cell::Badge(frame.badge(payment.class))),
                    (t.out_trade_no, Cell::Id(frame.plain_id(&payment.out_trade_no))),
                ],
            },
        };
        facts.rows.push((t.transaction, Cell::Id(frame.plain_id(&payment.transaction_id))));
        facts.rows.push((t.refund_of, Cell::Money(frame.sum(payment.paid, &payment.currency))));
        facts.rows.push((t.refund_left, Cell::Money(frame.sum(payment.left, &payment.currency))));
        facts
    }
}
