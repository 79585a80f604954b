//! One message about several deliveries: of the schedule, or of a replay.
//!
//! What must stay true: of an endpoint's messages, those of all processes together keep the pause between them; what
//! the schedule has to say goes before what is replayed.

use std::time::Duration;

use serde_json::Value;

use super::attempt::{Claimed, Maker, Sent};
use super::schedule::pause_between;
use super::sender::MessageResult;
use crate::clock::Timestamp;
use crate::secret::random_text;
use crate::store::{DbError, LONGEST_PAUSE, ReplayMark, WebhookDelivery, WebhookEndpoint};

/// Replays wait so much longer than the schedule, which sends first what is due.
const AFTER_SCHEDULE: Duration = Duration::from_secs(1);

impl Maker {
    /// Whether a message may be sent now; the next one then waits.
    pub async fn begins_message(&self, endpoint: &WebhookEndpoint) -> Result<bool, DbError> {
        let (now, pause) = (self.clock.now(), pause_between(endpoint.format).unwrap_or_default());
        self.store.begin_message(&endpoint.id, (now, now), pause).await
    }

    /// Attempts by the schedule: one message about as many of them as it holds. The others wait for the next one.
    pub async fn scheduled_together(&self, endpoint: &WebhookEndpoint, claimed: &[Claimed]) -> Result<(), DbError> {
        let started_at = self.clock.now();
        let (mut events, mut included) = (Vec::new(), Vec::new());
        for one in claimed {
            match self.event(&one.delivery.event_id).await? {
                Ok(event) => {
                    events.push(event);
                    included.push(one);
                }
                Err(answer) => self.ended(one, Sent { answer, bytes: 0, started_at }).await?,
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        let message = self.message(endpoint, &events, started_at).await?;
        // Where it takes no message, all of them wait as long as it asks for.
        let reported = if message.answer.is_success() { message.reported } else { included.len() };
        let (reported, rest) = included.split_at(reported);
        if let Some(first) = rest.first() {
            let ids: Vec<i64> = rest.iter().map(|one| one.delivery.id).collect();
            self.store.release_some_deliveries(&ids, &first.claim).await?;
        }
        for one in reported {
            self.ended(one, Sent { answer: message.answer.clone(), bytes: message.bytes, started_at }).await?;
        }
        Ok(())
    }

    /// One message about as many of these items of replays as it holds, beside the schedule, with their results. The
    /// others stay open. Answers until when there is no other message.
    pub async fn replayed_together(
        &self,
        endpoint: &WebhookEndpoint,
        items: Vec<(WebhookDelivery, ReplayMark)>,
    ) -> Result<Timestamp, DbError> {
        let started_at = self.clock.now();
        let pause = pause_between(endpoint.format).unwrap_or_default();
        let before = started_at.before(AFTER_SCHEDULE);
        if !self.store.begin_message(&endpoint.id, (started_at, before), pause).await? {
            return Ok(started_at.after(AFTER_SCHEDULE));
        }
        let until = started_at.after(pause).after(AFTER_SCHEDULE);
        let claim = random_text(16);
        let (mut events, mut included) = (Vec::new(), Vec::new());
        for (delivery, mark) in items {
            if !self.store.claim_delivery(delivery.id, &claim, self.claim_ms()).await? {
                continue;
            }
            match self.event(&delivery.event_id).await? {
                Ok(event) => {
                    events.push(event);
                    included.push((delivery, mark));
                }
                Err(answer) => {
                    let sent = Sent { answer, bytes: 0, started_at };
                    self.replay_ended(endpoint, &delivery, (mark, claim.clone()), sent).await?;
                }
            }
        }
        if events.is_empty() {
            return Ok(until);
        }
        let message = self.message(endpoint, &events, started_at).await?;
        let is_put_off = !message.answer.is_success() && message.answer.retry_after.is_some();
        let rest = included.split_off(if is_put_off { 0 } else { message.reported.min(included.len()) });
        let ids: Vec<i64> = rest.iter().map(|(delivery, _)| delivery.id).collect();
        self.store.release_some_deliveries(&ids, &claim).await?;
        for (delivery, mark) in included {
            let sent = Sent { answer: message.answer.clone(), bytes: message.bytes, started_at };
            self.replay_ended(endpoint, &delivery, (mark, claim.clone()), sent).await?;
        }
        Ok(message.answer.retry_after.map_or(until, |pause| until.max(started_at.after(pause))))
    }

    /// Sends a message. A receiver that asks for a longer pause gets no other one meanwhile.
    async fn message(
        &self,
        endpoint: &WebhookEndpoint,
        events: &[Value],
        now: Timestamp,
    ) -> Result<MessageResult, DbError> {
        let message = self.sender.tell(endpoint, events, now).await;
        if let Some(pause) = message.answer.retry_after {
            self.store.put_off_messages(&endpoint.id, now.after(pause.min(LONGEST_PAUSE))).await?;
        }
        Ok(message)
    }
}
