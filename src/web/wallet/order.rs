//! Which order number a payer is offered for an amount.
//!
//! A payer has one number per amount, so that a double click, a reload or a second process leads to the same order.
//! What must stay true: there is a new number only when WeChat takes no money for the old one any more, or has taken
//! it; until that is certain the answer is to wait, or that it is paid. A number names the merchant that it was
//! made for: in whichever order the configuration lists merchants, one number is never placed at two of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::{OrderCloseRequested, QueryDue};
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::http::orders::close::closable_at;
use crate::ids::OrderNo;
use crate::money::Fen;
use crate::order::{Intent, Order, OrderState, Queries};
use crate::secret::{random_text, sha256_hex};
use crate::store::StoredOrder;
use crate::trade::TradeType;
use crate::web::envelope::{Failure, Reason};
use crate::web::session::Session;
use crate::web::state::Browser;
use crate::web::state::WebState;

/// Who asks for a close, where the payer's own click does.
const PAYER: &str = "payer";
/// How long a payment is reported to a payer who may not know of it yet, before a click counts as a new order.
const TELL_PAID: Duration = Duration::from_secs(60);
/// A payment that becomes known later than this was not reported to the page that it was made on.
const KNOWN_LATE: Duration = Duration::from_secs(10);
/// Of which a payer may have only so many open orders.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The request that offers an order records it. One that crashed before it could leaves an offer of no order.
const RECORDED_WITHIN: Duration = Duration::from_secs(600);
/// Letters of a number that stand for its merchant.
const MERCHANT_TAG: usize = 6;

/// Where an order is placed: the number and its merchant.
pub struct WalletSlot<'a> {
    pub order_no: OrderNo,
    /// The merchant it was made for.
    pub merchant: &'a Merchant,
}

/// The state of the order a payer was offered last.
enum Standing {
    /// It is offered again.
    Offered,
    /// It takes no money any more, or has it: there may be a new one.
    Ended,
    /// It is paid, and the payer may not know of it yet.
    JustPaid,
    /// It is no longer offered, and WeChat may still take money for it.
    InTheWay,
}

/// The result of the lookup of the payer's number.
enum Found<'a> {
    WalletSlot(WalletSlot<'a>),
    InTheWay(Arc<StoredOrder>),
}

/// The slot of this payer's order, in whichever process they ask. An open order in the way is settled first, at most
/// until `deadline`; a payment found that way is the answer.
pub async fn slot_of<'a>(
    app: &'a WebState,
    browser: &Browser,
    session: &Session,
    amount: Fen,
    deadline: Instant,
) -> Result<WalletSlot<'a>, Failure> {
    let old = match find(app, browser, session, amount).await? {
        Found::WalletSlot(slot) => return Ok(slot),
        Found::InTheWay(old) => old,
    };
    let old = clear(app, old, deadline).await?;
    if old.order.state == OrderState::Paid {
        return Err(about(Reason::OrderPaid, &old));
    }
    match find(app, browser, session, amount).await? {
        Found::WalletSlot(slot) => Ok(slot),
        Found::InTheWay(old) => Err(pending(&old, app.clock.now())),
    }
}

/// One lookup, and a new number where one is allowed.
async fn find<'a>(app: &'a WebState, browser: &Browser, session: &Session, amount: Fen) -> Result<Found<'a>, Failure> {
    let payer = (session.app.clone(), session.openid.clone());
    // So that of clicks at once only one counts as a new order.
    let _lock = browser.clicks.lock(&payer).await;
    let (key, openid) = (&payer.0, &payer.1);
    let offered = app.store.wallet_order(key, openid, amount).await?;
    let now = app.clock.now();
    if let Some(slot) = offered.clone().and_then(|number| known_slot(app, number)) {
        let Some(order) = app.store.order(&slot.merchant.key, &slot.order_no).await? else {
            // Another request is placing it, or that one crashed before it could: placing is idempotent.
            let takes = slot.merchant.apps.contains(key);
            return if takes { Ok(Found::WalletSlot(slot)) } else { Err(Reason::Busy.into()) };
        };
        match standing(&order, now) {
            // It can still be paid, and no page of this app may offer it any more.
            Standing::Offered if !slot.merchant.apps.contains(key) => return Ok(Found::InTheWay(Arc::new(order))),
            Standing::Offered => return Ok(Found::WalletSlot(slot)),
            Standing::JustPaid => return Err(about(Reason::OrderPaid, &order)),
            Standing::InTheWay => return Ok(Found::InTheWay(Arc::new(order))),
            Standing::Ended => {}
        }
    }
    let merchant = app.config.merchants.iter().find(|merchant| merchant.apps.contains(key)).ok_or(Reason::NotOpen)?;
    let since = (now.before(DAY), now.before(RECORDED_WITHIN));
    let open = app.store.open_wallet_orders((key, openid), &merchant.key, since, amount).await?;
    if open >= i64::from(app.config.web.wallet_open_max) {
        return Err(Reason::TooMany.into());
    }
    browser.new_orders.take(&payer).map_err(Failure::too_many)?;
    let new = fresh_number(merchant, now)?;
    let stands = app.store.offer_wallet_order(key, openid, amount, offered.as_ref(), &new, now).await?;
    if stands == new {
        return Ok(Found::WalletSlot(WalletSlot { order_no: new, merchant }));
    }
    // Another process was faster.
    browser.new_orders.give_back(&payer);
    known_slot(app, stands).map(Found::WalletSlot).ok_or_else(|| Reason::Busy.into())
}

fn standing(stored: &StoredOrder, now: Timestamp) -> Standing {
    let order = &stored.order;
    match order.state {
        OrderState::Paid if is_just_paid(stored, now) => Standing::JustPaid,
        OrderState::Paid => Standing::Ended,
        // An answer of WeChat that came after the end: it must be closed there first.
        OrderState::Closed | OrderState::Failed if order.any_live() => Standing::InTheWay,
        OrderState::Closed | OrderState::Failed => Standing::Ended,
        // The money that was paid on it is not the payer's to wait for.
        OrderState::Requested | OrderState::Payable if order.is_blocked() && !order.any_live() => Standing::Ended,
        OrderState::Requested | OrderState::Payable => {
            let by_page = match order.intent {
                Some(Intent::Close) => false,
                Some(Intent::NewAttempt { trade_type, .. }) => trade_type == TradeType::Jsapi,
                // The business may have given it an attempt of another kind, which no page can pay.
                None => order.current().is_none_or(|attempt| attempt.trade_type == TradeType::Jsapi),
            };
            if by_page && now < order.expires_at { Standing::Offered } else { Standing::InTheWay }
        }
    }
}

/// Whether the payment became known so late that the page it was made on gave up, and so lately that the payer may not
/// know of it from elsewhere. A click then means the payment that was made, not another one.
fn is_just_paid(stored: &StoredOrder, now: Timestamp) -> bool {
    let Some(paid) = &stored.order.paid_by else { return false };
    let known_at = stored.updated_at;
    let late = known_at >= stored.order.expires_at || known_at.since(paid.paid_at) > KNOWN_LATE;
    late && now.since(known_at) < TELL_PAID
}

/// Has WeChat asked about an order that is in the way, and the order closed there; waits for what comes of it. WeChat
/// closes nothing within five minutes of its placing: then there is only the answer to the question to wait for.
async fn clear(app: &WebState, stored: Arc<StoredOrder>, deadline: Instant) -> Result<Arc<StoredOrder>, Failure> {
    let (order, now) = (&stored.order, app.clock.now());
    let (merchant, order_no) = (order.merchant.clone(), order.order_no.clone());
    let before = mark(order);
    let asked = app.may_ask_for_payer(&merchant, &order_no);
    if asked {
        let about = Some(order_no.to_string());
        if order.wants_close(now) {
            let due = QueryDue { order_no: order_no.clone(), refresh: true };
            let envelope = Envelope::new(&merchant, QueryDue::TYPE, about, now, due);
            app.publish(subject::query_due(&merchant), envelope).await?;
        } else {
            let request = OrderCloseRequested { order_no: order_no.clone(), by: PAYER.to_owned() };
            let envelope = Envelope::new(&merchant, OrderCloseRequested::TYPE, about, now, request);
            app.publish(subject::order_close_requested(&merchant), envelope).await?;
        }
    }
    let too_early = closable_at(order) > now;
    if too_early && !asked {
        return Ok(stored);
    }
    let settled = |s: &StoredOrder| {
        let ended = !s.order.state.is_open() && !s.order.any_live();
        s.order.state == OrderState::Paid || ended || too_early && s.order.wants_close(now) && mark(&s.order) != before
    };
    let seen = Some(Arc::clone(&stored));
    Ok(app.orders.wait(&merchant, &order_no, seen, deadline, settled).await.unwrap_or(stored))
}

/// Changes with the order and with each question about it.
fn mark(order: &Order) -> (i64, Queries) {
    (order.version, order.queries)
}

/// The order that is in the way, and when to come again: not before WeChat may be asked to close it.
fn pending(stored: &StoredOrder, now: Timestamp) -> Failure {
    let failure = about(Reason::Pending, stored);
    let wait_s = closable_at(&stored.order).since(now).as_secs();
    if wait_s == 0 { failure } else { failure.retry_after(u32::try_from(wait_s).unwrap_or(u32::MAX)) }
}

fn about(reason: Reason, stored: &StoredOrder) -> Failure {
    Failure::about(reason, &stored.order.order_no, stored.order.state.as_str())
}

/// An unguessable number, that sorts by its day and that names its merchant.
fn fresh_number(merchant: &Merchant, now: Timestamp) -> Result<OrderNo, Failure> {
    let day: String = now.to_beijing().chars().take(8).collect();
    let number = format!("W{day}{}{}", tag(merchant), random_text(16));
    OrderNo::parse(number).map_err(|e| Failure::because(Reason::Internal, e.to_string()))
}

fn tag(merchant: &Merchant) -> String {
    sha256_hex(merchant.key.as_str().as_bytes()).chars().take(MERCHANT_TAG).collect()
}

/// The merchant of a number, if it is configured; whether it still takes the app's orders is another question.
fn known_slot(app: &WebState, order_no: OrderNo) -> Option<WalletSlot<'_>> {
    let named = order_no.as_str().get(9..9 + MERCHANT_TAG)?;
    let merchants = app.config.merchants.iter();
    // By key, so that even two merchants of one tag do not change places with the configuration.
    let merchant = merchants.filter(|merchant| tag(merchant) == named).min_by_key(|merchant| merchant.key.as_str())?;
    Some(WalletSlot { order_no, merchant })
}
