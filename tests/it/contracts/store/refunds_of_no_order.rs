//! The store contract, refunds of payments that have no order: what goes back is not credited, and the reverse.

use std::collections::BTreeMap;

use wxpay_worker::event::fact::{Fact, Payment, RefundFact, RefundSeen, RefundStanding};
use wxpay_worker::ids::{EventId, OutRefundNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::order::{Decision, PaymentClass, Policy, decide};
use wxpay_worker::refund::{RefundDecision, RefundOrigin, decide_refund};
use wxpay_worker::store::{
    AttemptParams, DbError, DbKind, NewRefund, OrderCommit, RefundCommit, RefundEvidence, RefundSource, Reserved,
    StoredOrder, StoredPayment, StoredRefund,
};

use super::orders::{NOW, change, merchant};
use super::payments::payment;
use crate::harness::db::TestDb;
use crate::harness::store::{TestStore, commit};

fn refund(of: &Payment, refund_no: &str, fen: i64) -> NewRefund {
    NewRefund {
        merchant: merchant(),
        order_id: None,
        order_no: None,
        refund_no: OutRefundNo::parse(refund_no).unwrap(),
        out_trade_no: of.out_trade_no.clone(),
        transaction_id: of.transaction_id.clone(),
        amount: Fen::from_i64(fen),
        total: of.total_fee,
        currency: of.fee_type.clone(),
        origin: RefundOrigin::Api,
        reason: None,
        requested_by: "test".into(),
        content_hash: "x".into(),
        gives_back: None,
        audit: None,
        idempotency: None,
        cap: None,
        second_person: None,
        approved: None,
        params: AttemptParams { params: BTreeMap::new(), sign_type: "MD5".into() },
        known: None,
        created_at: NOW,
        next_at: NOW,
    }
}

/// The change of an order that a payment makes which is given back as one of no order.
fn appears(order: &StoredOrder, n: u32, payment: &Payment, goes_back: PaymentClass) -> OrderCommit {
    let fact = Fact::Paid(payment.clone());
    let policy = Policy { goes_back: Some(goes_back), ..Policy::default() };
    let Decision::Apply(decided) = decide(&order.order, &payment.out_trade_no, &fact, NOW, policy) else {
        panic!("nothing to apply")
    };
    let version = decided.next.version;
    let payments = decided.payment.map(|entry| (version, entry)).into_iter().collect();
    OrderCommit { next: decided.next, payments, ..change(order, n, fact) }
}

impl TestStore {
    /// A payment of the `n`-th order's number, known before the order is.
    async fn unmatched(&self, n: u32, fee_type: &str) -> Payment {
        let payment = Payment { fee_type: fee_type.into(), ..payment(n, n, 100) };
        self.store.enter_unmatched(&merchant(), &payment, EventId::new(), NOW).await.unwrap();
        payment
    }

    async fn known(&self, transaction_id: &TransactionId) -> StoredPayment {
        self.store.payment(&merchant(), transaction_id).await.unwrap().unwrap()
    }

    /// Records a refund and takes it to its end.
    async fn succeeds(&self, new: &NewRefund) {
        let Reserved::New(mut stored) = self.store.record_refund(new, NOW).await.unwrap() else { panic!("refused") };
        let refund_id = format!("50{}", new.refund_no);
        let seen = RefundSeen {
            refund_id: refund_id.clone(),
            transaction_id: new.transaction_id.clone(),
            refund_fee: new.amount,
            status: RefundStanding::Success { at: Some(NOW) },
        };
        for fact in [RefundFact::Accepted { refund_id }, RefundFact::Status(seen)] {
            assert!(self.store.commit_refund(&learns(&stored, fact), NOW).await.unwrap());
            *stored = self.store.refund(&merchant(), &new.refund_no).await.unwrap().unwrap();
        }
    }
}

fn learns(stored: &StoredRefund, fact: RefundFact) -> RefundCommit {
    let RefundDecision::Apply(change) = decide_refund(&stored.refund, &fact, NOW) else { panic!("nothing to apply") };
    RefundCommit {
        order_id: stored.order_id,
        before: stored.refund.version,
        unanswered_before: stored.refund.unanswered_at,
        change: *change,
        evidence: RefundEvidence { fact, source: RefundSource::Call { raw: None }, received_at: NOW },
        event: None,
        notification: None,
    }
}

on_both_databases! {
    async fn what_goes_back_is_not_credited_to_its_order(stage) {
        let paid = stage.unmatched(1, "CNY").await;
        assert!(matches!(stage.store.record_refund(&refund(&paid, "R1", 60), NOW).await, Ok(Reserved::New(_))));
        let order = stage.recorded(1).await;
        let credited = commit(&stage.store, &[change(&order, 1, Fact::Paid(paid.clone()))], NOW).await;
        assert!(matches!(credited, Err(DbError::Exists(_))), "{credited:?}");
        assert_eq!(stage.known(&paid.transaction_id).await.class, PaymentClass::Unmatched);
        commit(&stage.store, &[appears(&order, 1, &paid, PaymentClass::Unmatched)], NOW).await.unwrap();
        let known = stage.known(&paid.transaction_id).await;
        assert_eq!((known.class, known.order_no.is_some()), (PaymentClass::Held, true));
        assert_eq!(stage.count("ledger WHERE from_class = 'unmatched' AND to_class = 'held'").await, 1);
        assert_eq!(stage.count("orders WHERE state = 'paid'").await, 0);
    }

    async fn what_its_order_has_does_not_go_back_as_money_of_no_order(stage) {
        let paid = stage.unmatched(1, "CNY").await;
        let order = stage.recorded(1).await;
        commit(&stage.store, &[change(&order, 1, Fact::Paid(paid.clone()))], NOW).await.unwrap();
        assert_eq!(stage.known(&paid.transaction_id).await.class, PaymentClass::Credited);
        assert!(matches!(stage.store.record_refund(&refund(&paid, "R1", 60), NOW).await, Ok(Reserved::Accepted)));
        assert_eq!(stage.count("refunds").await, 0);
    }

    async fn of_giving_back_and_crediting_at_once_one_happens(stage) {
        for n in 1..=25 {
            let paid = stage.unmatched(n, "CNY").await;
            let order = stage.recorded(n).await;
            let changes = [change(&order, n, Fact::Paid(paid.clone()))];
            let new = refund(&paid, &format!("R{n}"), 60);
            let crediting = commit(&stage.store, &changes, NOW);
            let giving_back = stage.store.record_refund(&new, NOW);
            let (credited, given_back) = match n % 2 {
                0 => tokio::join!(crediting, giving_back),
                _ => {
                    let (given_back, credited) = tokio::join!(giving_back, crediting);
                    (credited, given_back)
                }
            };
            let class = stage.known(&paid.transaction_id).await.class;
            match (credited, given_back) {
                (Ok(_), Ok(Reserved::Accepted)) => assert_eq!(class, PaymentClass::Credited),
                (Err(DbError::Exists(_)), Ok(Reserved::New(_))) => assert_eq!(class, PaymentClass::Unmatched),
                both => panic!("{both:?}"),
            }
        }
    }

    async fn what_went_back_whole_is_returned_and_stays_that_when_its_order_appears(stage) {
        let paid = stage.unmatched(1, "USD").await;
        stage.succeeds(&refund(&paid, "R1", 40)).await;
        assert_eq!(stage.known(&paid.transaction_id).await.class, PaymentClass::Unmatched);
        stage.succeeds(&refund(&paid, "R2", 60)).await;
        let known = stage.known(&paid.transaction_id).await;
        assert_eq!((known.class, known.refunded), (PaymentClass::Returned, Fen::from_i64(100)));
        let of_no_order = "refund_ledger WHERE currency = 'USD' AND order_id IS NULL AND order_no IS NULL";
        assert_eq!(stage.count(of_no_order).await, 2);
        let order = stage.recorded(1).await;
        for goes_back in [None, Some(PaymentClass::Unmatched)] {
            let change = match goes_back {
                None => change(&order, 1, Fact::Paid(paid.clone())),
                Some(class) => appears(&order, 1, &paid, class),
            };
            let refused = commit(&stage.store, &[change], NOW).await;
            assert!(matches!(refused, Err(DbError::Exists(_))), "{refused:?}");
        }
        commit(&stage.store, &[appears(&order, 1, &paid, PaymentClass::Returned)], NOW).await.unwrap();
        let known = stage.known(&paid.transaction_id).await;
        assert_eq!((known.class, known.order_no.is_some()), (PaymentClass::Returned, true));
        let history = stage.store.payment_history(&known).await.unwrap();
        let entries: Vec<_> = history.iter().map(|row| (&*row.entry, row.from_class.as_deref())).collect();
        assert_eq!(entries, [("payment", None), ("returned", Some("unmatched")), ("matched", Some("returned"))]);
        assert_eq!(stage.count("orders WHERE state = 'paid' OR refunded_fen > 0").await, 0);
    }

    async fn what_a_refund_of_no_order_needs_is_all_that_the_tables_take(stage) {
        let paid = stage.unmatched(1, "USD").await;
        stage.succeeds(&refund(&paid, "R1", 40)).await;
        for sql in [
            "UPDATE refunds SET merchant = NULL",
            "UPDATE refunds SET transaction_id = NULL",
            "UPDATE refunds SET amount_fen = 101",
            "UPDATE refunds SET order_id = 99",
            "UPDATE refund_totals SET order_id = 99",
            "UPDATE refund_totals SET out_trade_no = NULL",
            "UPDATE refund_totals SET reserved_fen = 101",
            "UPDATE refund_ledger SET order_no = 'A1'",
            "DELETE FROM refund_ledger",
            "DELETE FROM refund_totals",
        ] {
            assert!(stage.execute(sql).await.is_err(), "{sql}");
        }
        if stage.store.db().kind() == DbKind::Sqlite {
            assert_eq!(stage.count("pragma_integrity_check WHERE integrity_check <> 'ok'").await, 0);
            assert_eq!(stage.count("pragma_foreign_key_check").await, 0);
        }
    }
}
