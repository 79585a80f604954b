//! The claim under which a process places an order: no other one calls WeChat for it at the same time.
//!
//! It is renewed for as long as the placing takes. What must stay true: a process that could not renew it in time,
//! being stopped or cut off from the database, begins no call after its end; and an order whose claim ends is polled.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::time::Instant;

use super::submit::{Submitted, Target, place, submit};
use crate::bus::Verdict;
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo};
use crate::order::OrderState;
use crate::store::{DbError, NewOrder, StoredOrder};
use crate::worker::core::context::Context;
use crate::worker::core::error::failed;

pub struct Claim {
    merchant: MerchantKey,
    order_no: OrderNo,
    until: Timestamp,
    /// When it ends at the latest, by this process's monotonic clock.
    lapses: Instant,
    lease: Duration,
}

impl Claim {
    /// The claim that an order was recorded under, a lease long from `begun` on or later.
    pub fn of_new(order: &NewOrder, begun: Instant, lease: Duration) -> Option<Claim> {
        Some(Claim {
            merchant: order.content.merchant.clone(),
            order_no: order.content.order_no.clone(),
            until: order.placing_until?,
            lapses: begun + lease,
            lease,
        })
    }

    /// The claim that an order was loaded under, a lease long from `begun` on or later.
    pub fn of_loaded(stored: &StoredOrder, begun: Instant, lease: Duration) -> Option<Claim> {
        let (merchant, order_no) = (stored.order.merchant.clone(), stored.order.order_no.clone());
        Some(Claim { merchant, order_no, until: stored.placing_until?, lapses: begun + lease, lease })
    }

    /// Claims an order whose next poll is planned; none where another process has it, or it changed since it was read.
    async fn take(ctx: &Context, stored: &StoredOrder) -> Result<Option<Claim>, DbError> {
        let (order, lease) = (&stored.order, ctx.config.store.lease);
        let (begun, now) = (Instant::now(), ctx.clock.now());
        let until = now.after(lease);
        let is_taken = ctx.store.claim_placing((order.id, order.version), now, until).await?;
        Ok(is_taken.then(|| Claim {
            merchant: order.merchant.clone(),
            order_no: order.order_no.clone(),
            until,
            lapses: begun + lease,
            lease,
        }))
    }

    /// Does the work while the claim holds; nothing if it ends before the work.
    pub async fn hold<T>(&mut self, ctx: &Context, work: impl Future<Output = T>) -> Option<T> {
        // Recording may have taken longer than the claim lasts.
        if self.has_lapsed() {
            return None;
        }
        tokio::select! {
            biased;
            () = self.lost(ctx) => None,
            done = work => Some(done),
        }
    }

    /// Renews it until that is too late. Renewing in time fails only when a change of the order has ended the claim:
    /// what is placed then is what that change left to be placed.
    async fn lost(&mut self, ctx: &Context) {
        while !self.has_lapsed() {
            tokio::time::sleep_until(self.lapses.min(Instant::now() + self.lease / 3)).await;
            let asked = Instant::now();
            let until = ctx.clock.now().after(self.lease);
            let renewing = ctx.store.renew_placing(&self.merchant, &self.order_no, self.until, until);
            match tokio::time::timeout_at(self.lapses, renewing).await {
                Ok(Ok(true)) => (self.until, self.lapses) = (until, asked + self.lease),
                Ok(Ok(false)) => return pending().await,
                Ok(Err(error)) => {
                    tracing::info!(order_no = %self.order_no, %error, "the claim on placing an order is not renewed");
                }
                Err(_) => {}
            }
        }
    }

    /// From then on another process may have it.
    fn has_lapsed(&self) -> bool {
        let lapsed = Instant::now() >= self.lapses;
        if lapsed {
            tracing::warn!(order_no = %self.order_no, "the claim on placing an order ended before its placing");
        }
        lapsed
    }

    /// Gives it up, where no change of the order has ended it. If that fails it ends by its time.
    pub async fn give_up(self, ctx: &Context) {
        if let Err(error) = ctx.store.give_up_placing(&self.merchant, &self.order_no, self.until).await {
            tracing::info!(order_no = %self.order_no, %error, "the claim on placing an order ends by its time");
        }
    }
}

/// Repeats the placing of an order that was polled, and whose next poll is planned; nothing is done where another
/// process has it.
pub async fn place_again(ctx: &Context, stored: &StoredOrder, target: Target) -> Verdict {
    match stored.order.state {
        OrderState::Requested => match Claim::take(ctx, stored).await {
            Ok(Some(claim)) => place_claimed(ctx, claim, target, true).await,
            Ok(None) => Verdict::Done,
            Err(e) => failed(e),
        },
        OrderState::Payable | OrderState::Paid | OrderState::Closed | OrderState::Failed => {
            place(ctx, target, true).await
        }
    }
}

/// Places an order under its claim.
pub async fn place_claimed(ctx: &Context, mut claim: Claim, target: Target, repeated: bool) -> Verdict {
    crate::failpoint::point("worker.order_claimed");
    let Some(Submitted { verdict, order }) = claim.hold(ctx, submit(ctx, target, repeated)).await else {
        return Verdict::Done;
    };
    if order.is_none() {
        claim.give_up(ctx).await;
    }
    verdict
}
