//! A handler of one kind of message, and what is the same for all of them: parsing, and the merchant of the subject.

use std::future::Future;

use super::config_skew;
use super::context::Context;
use crate::bus::{Delivery, Verdict};
use crate::config::Merchant;
use crate::event::envelope::{Envelope, EventData};

/// What happens when a message of one kind arrives. It may run twice, at the same time, in two processes.
pub trait Handler: 'static {
    /// What the message says.
    type Data: EventData + Send;

    /// Whether the scheduler publishes the message again, so that one of a merchant that is not configured here may be
    /// dropped. Others wait for a process that has the merchant.
    const REPUBLISHED: bool = false;

    /// Handles a message; `attempt` counts its deliveries from 1.
    fn handle(
        ctx: &Context,
        merchant: &Merchant,
        event: Envelope<Self::Data>,
        attempt: u32,
    ) -> impl Future<Output = Verdict> + Send;
}

/// The merchant that a subject names, if it is configured here.
pub fn merchant_of<'a>(ctx: &'a Context, subject: &str) -> Option<&'a Merchant> {
    subject.split('.').nth(2).and_then(|key| ctx.config.merchant(key))
}

/// Parses a delivery and has it handled.
pub async fn run<H: Handler>(ctx: Context, delivery: Delivery) -> Verdict {
    let Delivery { message, attempt, ending, .. } = delivery;
    let ctx = ctx.with_ending(ending);
    let event = match Envelope::<H::Data>::parse(&message.payload) {
        Ok(event) => event,
        Err(e) => return Verdict::Park { reason: "malformed", why: e.to_string() },
    };
    match merchant_of(&ctx, &message.subject) {
        Some(merchant) => {
            let verdict = H::handle(&ctx, merchant, event, attempt).await;
            ctx.record_calls().await;
            verdict
        }
        None if H::REPUBLISHED => {
            tracing::warn!(subject = message.subject, "a message of no configured merchant is dropped");
            Verdict::Done
        }
        None => config_skew::unknown(event.time, ctx.clock.now(), attempt),
    }
}
