//! What all requests and notifications share. Locks are held for one read or change, never across an await.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bill::differences::Difference;
use super::bill::form::Form;
use super::faults::{Faults, On};
use super::http::certificates::Authority;
use super::ledger::account::Book;
use super::ledger::order::{Lifetimes, Order};
use super::ledger::record::Refund;
use super::notify::notification::Notification;
use super::notify::sender::Sender;
use super::platform::Platform;
use super::request_log::RequestLog;
use super::settings::Account;
use crate::clock::{Clock, Timestamp};
use crate::ids::AppId;

pub(super) struct SandboxState {
    pub accounts: HashMap<String, Account>,
    /// How payers know them.
    pub merchant_names: BTreeMap<String, String>,
    /// The same merchants in the test environment.
    pub test_accounts: HashMap<String, Account>,
    /// Of all merchants.
    pub appids: HashSet<AppId>,
    pub time_scale: u32,
    pub lifetimes: Lifetimes,
    pub addr: SocketAddr,
    /// The listener with TLS.
    pub tls_addr: SocketAddr,
    pub authority: Authority,
    pub clock: Clock,
    pub faults: Faults,
    pub sender: Sender,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub book: Mutex<Book>,
    pub request_log: Mutex<RequestLog>,
    pub platform: Mutex<Platform>,
    /// Of bills, each with its merchant.
    pub differences: Mutex<Vec<(String, Difference)>>,
    /// Of bills, by merchant.
    pub bill_forms: Mutex<HashMap<String, Form>>,
    /// Notified when a call of that kind went through: what `reorder` waits for.
    pub passed: Signals,
}

/// One signal per kind of call.
#[derive(Default)]
pub(super) struct Signals(Mutex<HashMap<On, Arc<Notify>>>);

impl Signals {
    /// The signal of one kind of call.
    pub fn of(&self, on: On) -> Arc<Notify> {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(on).or_default())
    }
}

impl SandboxState {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The merchants, with the keys of the one environment or the other.
    pub fn accounts_of(&self, is_test: bool) -> &HashMap<String, Account> {
        if is_test { &self.test_accounts } else { &self.accounts }
    }

    /// The merchant as payers know it.
    pub fn merchant_name(&self, mch_id: &str) -> String {
        self.merchant_names.get(mch_id).cloned().unwrap_or_else(|| format!("商户 {mch_id}"))
    }

    /// The base of `/secapi/…`.
    pub fn refund_base_url(&self) -> String {
        format!("https://{}", self.tls_addr)
    }

    /// The ledger. Every change under this lock is complete before it can panic, so a poisoned lock is still good.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn request_log(&self) -> MutexGuard<'_, RequestLog> {
        self.request_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn platform(&self) -> MutexGuard<'_, Platform> {
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Differences that were planted into bills.
    pub fn differences(&self) -> MutexGuard<'_, Vec<(String, Difference)>> {
        self.differences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In which form a merchant's bills are written.
    pub fn bill_form(&self, mch_id: &str) -> Form {
        self.bill_forms.lock().unwrap_or_else(PoisonError::into_inner).get(mch_id).copied().unwrap_or_default()
    }

    pub fn choose_bill_form(&self, mch_id: &str, form: Form) {
        self.bill_forms.lock().unwrap_or_else(PoisonError::into_inner).insert(mch_id.to_owned(), form);
    }

    /// What there is to notify of; nothing while it is unpaid.
    pub fn notification(&self, order: &Order) -> Option<Notification> {
        let account = self.accounts_of(order.terms.is_test).get(order.terms.mch_id.as_str())?.clone();
        let (terms, payment) = (order.terms.clone(), order.payment.clone()?);
        Some(Notification { account, url: terms.notify_url.clone(), terms, payment, refund: None })
    }

    /// What there is to notify of a refund; nothing while it is on its way, or when there is no notify URL.
    pub fn refund_notification(&self, order: &Order, refund: &Refund) -> Option<Notification> {
        let url = refund.notify_url.clone().filter(|_| refund.ended_at.is_some())?;
        Some(Notification { refund: Some(Box::new(refund.clone())), url, ..self.notification(order)? })
    }

    /// Waits until another call of this kind went through, at most `limit`.
    pub async fn let_another_pass(&self, on: On, limit: std::time::Duration) {
        let signal = self.passed.of(on);
        // Running out of time is the other way this may end.
        let _ = tokio::time::timeout(limit, signal.notified()).await;
    }
}
