//! One message about several deliveries: of the schedule, or of a replay.
//!
//! What must stay true: of an endpoint's messages, those of all processes together keep the pause between them; neither
//! the schedule nor a replay keeps the other waiting for ever; an item that has its result is not sent again.

use std::time::Duration;

use serde_json::Value;

use super::answer::Outcome;
use super::attempt::{Claimed, Maker, Sent};
use super::schedule::pause_between;
use super::sender::MessageResult;
use crate::clock::Timestamp;
use crate::secret::random_text;
use crate::store::{DbError, EndpointState, LONGEST_PAUSE, ReplayMark, WebhookDelivery, WebhookEndpoint};

/// A replay asks again so much later whether it may send a message.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// What became of a message of a replay.
pub struct MessageEnd {
    /// When the endpoint may get another one.
    pub until: Timestamp,
    /// Of one that was sent: whether the robot took none because it had got too many.
    pub is_put_off: Option<bool>,
}

impl Maker {
    /// Whether a message may be sent now; the next one then waits. Of what is sent by itself always.
    pub async fn begins_message(&self, endpoint: &WebhookEndpoint) -> Result<bool, DbError> {
        match pause_between(endpoint.format) {
            None => Ok(true),
            Some(pause) => self.store.begin_message(&endpoint.id, self.clock.now(), pause).await,
        }
    }

    /// As [`Maker::begins_message`], of a replay; or when it may be asked again.
    pub(super) async fn begins_replayed_message(
        &self,
        endpoint: &WebhookEndpoint,
    ) -> Result<Result<(), Timestamp>, DbError> {
        let (now, Some(pause)) = (self.clock.now(), pause_between(endpoint.format)) else { return Ok(Ok(())) };
        let begins = self.store.begin_replayed_message(&endpoint.id, now, pause).await?;
        Ok(if begins { Ok(()) } else { Err(now.after(ASKED_AGAIN)) })
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
                Err(answer) => self.ended(vec![(one, Sent { answer, bytes: 0, started_at })]).await?,
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
        let sent = || Sent { answer: message.answer.clone(), bytes: message.bytes, started_at };
        self.ended(reported.iter().map(|one| (*one, sent())).collect()).await
    }

    /// One message about as many of these items of replays as it holds, beside the schedule, with their results. The
    /// others stay open, also where the endpoint has ended meanwhile. Where the robot has got too many messages, the
    /// items stay open as long as they `may_wait`.
    pub async fn replayed_together(
        &self,
        endpoint: &WebhookEndpoint,
        items: Vec<(WebhookDelivery, ReplayMark)>,
        may_wait: bool,
    ) -> Result<MessageEnd, DbError> {
        let started_at = self.clock.now();
        let unsent = |until| MessageEnd { until, is_put_off: None };
        let endpoint = match self.store.webhook(&endpoint.id).await? {
            Some(endpoint) if endpoint.state == EndpointState::Enabled => endpoint,
            _ => return Ok(unsent(started_at)),
        };
        if let Err(until) = self.begins_replayed_message(&endpoint).await? {
            return Ok(unsent(until));
        }
        let until = started_at.after(pause_between(endpoint.format).unwrap_or_default());
        let claim = random_text(16);
        let wanted: Vec<(i64, ReplayMark)> = items.iter().map(|(one, mark)| (one.id, mark.clone())).collect();
        let taken = self.store.claim_replayed(&wanted, &claim, self.claim_ms(endpoint.format)).await?;
        let (mut events, mut included) = (Vec::new(), Vec::new());
        for (delivery, mark) in items.into_iter().filter(|(one, _)| taken.contains(&one.id)) {
            match self.event(&delivery.event_id).await? {
                Ok(event) => {
                    events.push(event);
                    included.push((delivery, mark));
                }
                Err(answer) => {
                    let sent = Sent { answer, bytes: 0, started_at };
                    let attempt = self.of_replay(&endpoint, &delivery, (mark, claim.clone()), sent);
                    self.store.record_webhook_attempts(vec![attempt]).await?;
                }
            }
        }
        if events.is_empty() {
            return Ok(unsent(until));
        }
        let message = self.message(&endpoint, &events, started_at).await?;
        let pause = message.answer.retry_after.map(|pause| started_at.after(pause.min(LONGEST_PAUSE)));
        let is_put_off = message.answer.outcome == Outcome::Refused && pause.is_some();
        let reported = if is_put_off && may_wait { 0 } else { message.reported.min(included.len()) };
        let rest: Vec<i64> = included.split_off(reported).iter().map(|(delivery, _)| delivery.id).collect();
        self.store.release_some_deliveries(&rest, &claim).await?;
        let attempts = included.iter().map(|(delivery, mark)| {
            let sent = Sent { answer: message.answer.clone(), bytes: message.bytes, started_at };
            self.of_replay(&endpoint, delivery, (mark.clone(), claim.clone()), sent)
        });
        self.store.record_webhook_attempts(attempts.collect()).await?;
        Ok(MessageEnd { until: until.max(pause.unwrap_or(until)), is_put_off: Some(is_put_off) })
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
