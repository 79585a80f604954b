//! One attempt at an endpoint: what is sent, and the one write of all that it changes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use metrics::counter;
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Outcome};
use super::mail::ANSWER_TIME;
use super::schedule::{Next, next};
use super::sender::{Message, MessageResult, Sender};
use crate::clock::{Clock, Timestamp};
use crate::event::domain::{DomainData, DomainEvent, WebhookDisabled};
use crate::event::envelope::{Envelope, EnvelopeError};
use crate::secret::random_text;
use crate::store::{
    AuditEntry, Cause, DbError, DeliveryStep, DisabledReason, Disabling, EndpointFormat, EndpointState, ItemResult,
    NewAttempt, OfDelivery, ReplayMark, ReplayResult, Store, WebhookDelivery, WebhookEndpoint,
};
use crate::telemetry::WEBHOOK_ATTEMPTS_TOTAL;

/// The type of an event that only a test sends.
const TEST_TYPE: &str = "wxpay.webhook.test.v1";
/// A claim outlasts the attempt by this: the attempt is written by then.
const CLAIM_MARGIN: Duration = Duration::from_secs(10);

/// A delivery that was taken to be sent.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub delivery: WebhookDelivery,
    pub endpoint: WebhookEndpoint,
    /// As whose it was taken.
    pub claim: String,
}

/// Why an attempt was not made.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// It is being sent at this moment, or a process that died was sending it.
    #[error("the delivery is being sent")]
    InFlight,
    #[error("the endpoint was deleted")]
    EndpointGone,
    #[error("the endpoint is disabled")]
    EndpointDisabled,
    /// It gets messages about several events, and not so soon another one.
    #[error("another message was sent to the endpoint a moment ago")]
    Rests(Timestamp),
    #[error(transparent)]
    Store(#[from] DbError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// Makes attempts. Cheap to clone.
#[derive(Clone)]
pub struct Maker {
    pub store: Store,
    pub sender: Sender,
    pub clock: Clock,
}

/// The event of an attempt.
struct About<'a> {
    event_id: &'a str,
    event_type: &'a str,
    order_no: Option<&'a str>,
}

impl<'a> About<'a> {
    fn of(delivery: &'a WebhookDelivery) -> About<'a> {
        let WebhookDelivery { event_id, event_type, order_no, .. } = delivery;
        About { event_id, event_type, order_no: order_no.as_deref() }
    }
}

/// What was sent and what came of it.
pub(super) struct Sent {
    pub answer: Answer,
    pub bytes: usize,
    pub started_at: Timestamp,
}

#[derive(Serialize)]
struct TestData<'a> {
    endpoint: &'a str,
}

impl Maker {
    /// How long a claim lasts.
    pub fn claim_ms(&self, format: EndpointFormat) -> i64 {
        let more = if format == EndpointFormat::Mail { ANSWER_TIME } else { Duration::ZERO };
        let claim = self.sender.settings().webhooks.timeout + more + CLAIM_MARGIN;
        i64::try_from(claim.as_millis()).unwrap_or(i64::MAX)
    }

    /// An attempt by the schedule.
    pub async fn scheduled(&self, claimed: &Claimed) -> Result<Outcome, DbError> {
        let sent = self.send_event(&claimed.endpoint, &claimed.delivery.event_id).await?;
        let outcome = sent.answer.outcome;
        self.ended(vec![(claimed, sent)]).await?;
        Ok(outcome)
    }

    /// One more attempt for an item of a replay, beside the schedule; its result is written with it.
    pub async fn replayed(&self, delivery: &WebhookDelivery, mark: ReplayMark) -> Result<(), AttemptError> {
        let endpoint = self.store.webhook(&delivery.endpoint_id).await?.ok_or(AttemptError::EndpointGone)?;
        if endpoint.state != EndpointState::Enabled {
            return Err(AttemptError::EndpointDisabled);
        }
        if let Err(until) = self.begins_replayed_message(&endpoint).await? {
            return Err(AttemptError::Rests(until));
        }
        let (claim, item) = (random_text(16), [(delivery.id, mark.clone())]);
        if self.store.claim_replayed(&item, &claim, self.claim_ms(endpoint.format)).await?.is_empty() {
            return match self.store.is_replay_item_open(&mark).await? {
                true => Err(AttemptError::InFlight),
                // Another process has sent it.
                false => Ok(()),
            };
        }
        let sent = self.send_event(&endpoint, &delivery.event_id).await?;
        let attempt = self.of_replay(&endpoint, delivery, (mark, claim), sent);
        self.store.record_webhook_attempts(vec![attempt]).await?;
        Ok(())
    }

    /// What an item of a replay came to: its attempt, its result.
    pub(super) fn of_replay(
        &self,
        endpoint: &WebhookEndpoint,
        delivery: &WebhookDelivery,
        (mark, claim): (ReplayMark, String),
        sent: Sent,
    ) -> NewAttempt {
        let is_success = sent.answer.is_success();
        let step = if is_success { DeliveryStep::Delivered } else { DeliveryStep::Unchanged };
        let result = ItemResult {
            result: if is_success { ReplayResult::Settled } else { ReplayResult::Failed },
            reason: (!is_success).then(|| sent.answer.outcome.as_str().to_owned()),
            error: sent.answer.error.clone(),
        };
        let of = OfDelivery { id: delivery.id, claim, step };
        let mut attempt = attempt(endpoint, &About::of(delivery), sent, (Cause::Replay, Some(of)), self.clock.now());
        attempt.replayed = Some((mark, result));
        attempt
    }

    /// Sends an event of no order that only this endpoint gets, whatever its state.
    pub async fn test(&self, endpoint: &WebhookEndpoint) -> Result<Answer, AttemptError> {
        if !self.begins_message(endpoint).await? {
            return Err(AttemptError::Rests(self.clock.now()));
        }
        let data = TestData { endpoint: &endpoint.id };
        let event = Envelope::new(&endpoint.merchant, TEST_TYPE, None, self.clock.now(), data);
        let message = Message { id: event.id.to_string(), body: event.to_json()? };
        let sent = self.send(endpoint, &message).await;
        let answer = sent.answer.clone();
        let about = About { event_id: &message.id, event_type: TEST_TYPE, order_no: None };
        let attempt = attempt(endpoint, &about, sent, (Cause::Test, None), self.clock.now());
        self.store.record_webhook_attempts(vec![attempt]).await?;
        Ok(answer)
    }

    async fn send_event(&self, endpoint: &WebhookEndpoint, event_id: &str) -> Result<Sent, DbError> {
        let started_at = self.clock.now();
        let unsent = |outcome, error: &str| Sent { answer: Answer::unsent(outcome, error), bytes: 0, started_at };
        match self.store.event_json(event_id).await {
            Ok(Some(body)) => Ok(self.send(endpoint, &Message { id: event_id.to_owned(), body }).await),
            Ok(None) => Ok(unsent(Outcome::EventGone, "the event was removed from the feed")),
            Err(DbError::Defect(why)) => {
                tracing::error!(event.id = event_id, error = why, "an event cannot be read and is not delivered");
                Ok(unsent(Outcome::EventUnreadable, "the stored event cannot be read"))
            }
            Err(e) => Err(e),
        }
    }

    /// An event as it is stored, or why there is none.
    pub(super) async fn event(&self, event_id: &str) -> Result<Result<Value, Answer>, DbError> {
        let unreadable = || Answer::unsent(Outcome::EventUnreadable, "the stored event cannot be read");
        Ok(match self.store.event_json(event_id).await {
            Ok(Some(body)) => serde_json::from_str(&body).map_err(|_| unreadable()),
            Ok(None) => Err(Answer::unsent(Outcome::EventGone, "the event was removed from the feed")),
            Err(DbError::Defect(why)) => {
                tracing::error!(event.id = event_id, error = why, "an event cannot be read and is not delivered");
                Err(unreadable())
            }
            Err(e) => return Err(e),
        })
    }

    /// Writes what attempts by the schedule came to, all at once. What failed together comes back together: one message
    /// is about the same events again.
    pub(super) async fn ended(&self, attempts: Vec<(&Claimed, Sent)>) -> Result<(), DbError> {
        let (now, random) = (self.clock.now(), RandomState::new().build_hasher().finish());
        let Some((first, sent)) = attempts.first() else { return Ok(()) };
        let (id, outcome) = (first.endpoint.id.clone(), sent.answer.outcome);
        let attempts = attempts.into_iter().map(|(claimed, sent)| self.of_schedule(claimed, sent, (now, random)));
        if self.store.record_webhook_attempts(attempts.collect()).await? {
            tracing::warn!(endpoint = id, outcome = outcome.as_str(), "a webhook endpoint was disabled");
        }
        Ok(())
    }

    fn of_schedule(
        &self,
        Claimed { delivery, endpoint, claim }: &Claimed,
        sent: Sent,
        (now, random): (Timestamp, u64),
    ) -> NewAttempt {
        let step = Self::step(delivery, &sent, now, random);
        let of = OfDelivery { id: delivery.id, claim: claim.clone(), step };
        let outcome = sent.answer.outcome;
        let mut attempt = attempt(endpoint, &About::of(delivery), sent, (Cause::Schedule, Some(of)), now);
        if attempt.blames_endpoint {
            attempt.disabling = self.disabling(endpoint, outcome, now);
        }
        attempt
    }

    async fn send(&self, endpoint: &WebhookEndpoint, message: &Message) -> Sent {
        let started_at = self.clock.now();
        if endpoint.format != EndpointFormat::Events {
            // What is not JSON becomes a line without a name.
            let event = serde_json::from_str(&message.body).unwrap_or_default();
            let MessageResult { answer, bytes, .. } = self.sender.tell(endpoint, &[event], started_at).await;
            return Sent { answer, bytes, started_at };
        }
        let answer = match self.sender.secrets(endpoint, started_at) {
            Ok(secrets) => self.sender.post(&endpoint.url, &secrets, message, started_at).await,
            Err(e) => Answer::unsent(Outcome::NoSecret, e.to_string()),
        };
        Sent { answer, bytes: message.body.len(), started_at }
    }

    fn step(delivery: &WebhookDelivery, sent: &Sent, now: Timestamp, random: u64) -> DeliveryStep {
        match sent.answer.outcome {
            Outcome::Delivered => return DeliveryStep::Delivered,
            // No later attempt finds it.
            Outcome::EventGone | Outcome::EventUnreadable => return DeliveryStep::GivenUp,
            _ => {}
        }
        let first = delivery.first_attempt_at.unwrap_or(sent.started_at);
        match next(delivery.tries.saturating_add(1), first, now, sent.answer.retry_after, random) {
            Next::Again(at) => DeliveryStep::Again(at),
            Next::GiveUp => DeliveryStep::GivenUp,
        }
    }

    /// What may end the endpoint: its own word, or that it has failed for too long.
    fn disabling(&self, endpoint: &WebhookEndpoint, outcome: Outcome, now: Timestamp) -> Vec<Disabling> {
        let since = now.before(self.sender.settings().webhooks.disable_after);
        let (reason, failing_since) = match outcome {
            Outcome::Gone => (DisabledReason::Gone, None),
            _ => (DisabledReason::Failing, Some(since)),
        };
        let data = WebhookDisabled {
            endpoint: endpoint.id.clone(),
            description: endpoint.description.clone(),
            reason: reason.as_str(),
            failing_since: endpoint.failing_since.unwrap_or(now),
        };
        let merchant = endpoint.merchant.clone();
        let event = DomainEvent { merchant, order_no: None, data: DomainData::WebhookDisabled(data) }.encode(now);
        let audit = AuditEntry {
            at: now,
            actor: "service".to_owned(),
            actor_id: None,
            remote_addr: String::new(),
            action: "webhook.disable",
            merchant: Some(endpoint.merchant.clone()),
            order_no: None,
            transaction_id: None,
            subject: Some(format!("webhook:{}", endpoint.id)),
            reason: reason.as_str().to_owned(),
            result: "done".to_owned(),
        };
        vec![Disabling { reason, failing_since, event, audit }]
    }
}

fn attempt(
    endpoint: &WebhookEndpoint,
    about: &About<'_>,
    sent: Sent,
    (cause, of): (Cause, Option<OfDelivery>),
    now: Timestamp,
) -> NewAttempt {
    let Sent { answer, bytes, started_at } = sent;
    let outcome = answer.outcome;
    counter!(WEBHOOK_ATTEMPTS_TOTAL, "outcome" => outcome.as_str()).increment(1);
    let is_ours = answer.is_ours
        || matches!(outcome, Outcome::EventGone | Outcome::EventUnreadable | Outcome::NoSecret | Outcome::NoMailServer);
    NewAttempt {
        endpoint_id: endpoint.id.clone(),
        of,
        merchant: endpoint.merchant.to_string(),
        event_id: about.event_id.to_owned(),
        event_type: about.event_type.to_owned(),
        order_no: about.order_no.map(str::to_owned),
        cause,
        outcome: outcome.as_str(),
        is_success: answer.is_success(),
        blames_endpoint: !answer.is_success() && !is_ours && cause == Cause::Schedule,
        status: answer.status,
        error: answer.error,
        url: endpoint.url.clone(),
        request_bytes: bytes,
        answer: answer.body,
        started_at,
        ended_at: now,
        took_ms: u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX),
        disabling: Vec::new(),
        replayed: None,
    }
}
