//! What a consumer gets: what was handed over in this process, and what it claims from the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::handover::Handover;
use crate::batcher::{Group, Limits};
use crate::bus::ending::Ending;
use crate::bus::message::Message;
use crate::bus::subscription::{self, Arrived, Receipt as _, Source};
use crate::clock::Timestamp;
use crate::store::queue::{Answer, BusRows, Claim, Claimed, Finished};
use crate::store::{DbError, Polls};

/// Poll interval of an idle consumer where nothing is noticed of other processes' commits.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// Poll interval while there is traffic. It grows by a quarter with each poll that finds nothing: what another process
/// publishes after a pause is claimed a quarter of that pause later at most.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// After an error.
const AFTER_ERROR: Duration = Duration::from_millis(500);
/// Most deliveries of one claim.
const MAX_CLAIM: usize = 256;
/// How long a publish that reserved workers is waited for at the end.
const RESERVATIONS_END: Duration = Duration::from_secs(3);

/// Answers to deliveries, applied together; `true` when they are durable.
pub(super) type Answers = Group<(Claim, Answer), bool>;

pub(super) fn answering(rows: BusRows) -> Answers {
    Group::new(Limits { max_batch: 1024, queue: 8192 }, move |batch: Vec<(Claim, Answer)>| {
        let rows = rows.clone();
        async move {
            let applied = rows.answer(&batch).await;
            if let Err(e) = &applied {
                tracing::warn!(error = e.to_string(), answers = batch.len(), "answers to deliveries were not stored");
            }
            vec![applied.is_ok(); batch.len()]
        }
    })
}

/// A consumer's claims.
pub(in crate::bus) struct Supply {
    consumer: String,
    /// Whether an acknowledged message's body is deleted.
    empties: bool,
    lease_ms: i64,
    rows: BusRows,
    answers: Arc<Answers>,
    handover: Arc<Handover>,
    claiming: Option<Claiming>,
    poll_interval: Duration,
    /// When the queue is polled next.
    polls: Polls,
}

/// A claim under way. It has a task of its own, because the loop may stop waiting for it at any moment and a claim
/// that committed unheard would keep its messages until the lease ends.
struct Claiming {
    /// How many it takes at most.
    most: usize,
    task: JoinHandle<Result<Vec<Claimed>, DbError>>,
}

impl Supply {
    pub(super) fn new(
        consumer: String,
        empties: bool,
        lease_ms: i64,
        rows: BusRows,
        answers: Arc<Answers>,
        handover: Arc<Handover>,
    ) -> Supply {
        let (claiming, poll_interval, polls) = (None, BUSY_POLL, rows.polls());
        Supply { consumer, empties, lease_ms, rows, answers, handover, claiming, poll_interval, polls }
    }
}

impl Drop for Supply {
    /// Nothing more is reserved; what lies there comes again when its lease ends.
    fn drop(&mut self) {
        self.handover.rest();
    }
}

impl Source for Supply {
    type Receipt = Receipt;

    /// See [`crate::bus::subscription::Source::take`].
    async fn take(&mut self, free: usize) -> Vec<Arrived<Receipt>> {
        loop {
            let handover = Arc::clone(&self.handover);
            let signalled = handover.signal.notified();
            tokio::pin!(signalled);
            // Enabled before the poll, so that a message stored meanwhile wakes this consumer.
            signalled.as_mut().enable();
            let unreserved = handover.want(free.saturating_sub(self.claiming.as_ref().map_or(0, |c| c.most)));
            if handover.must_poll() {
                self.polls.after(Duration::ZERO);
                self.poll_interval = BUSY_POLL;
            }
            if self.claiming.is_some() || unreserved > 0 && self.polls.is_due() {
                match self.claim(unreserved).await {
                    Ok((claimed, _)) if !claimed.is_empty() => {
                        self.poll_interval = BUSY_POLL;
                        return claimed.into_iter().map(|c| self.arrived(c)).collect();
                    }
                    Ok((_, due_in)) => {
                        self.poll_interval = (self.poll_interval * 5 / 4).min(IDLE_POLL);
                        if self.poll_interval < IDLE_POLL {
                            self.polls.after(self.poll_interval);
                        } else {
                            self.polls.idle(IDLE_POLL, due_in);
                        }
                    }
                    Err(e) => {
                        let consumer = &self.consumer;
                        tracing::warn!(error = e.to_string(), consumer, "deliveries could not be claimed");
                        self.polls.after(AFTER_ERROR);
                    }
                }
            }
            let handed_over = handover.take(free);
            if !handed_over.is_empty() {
                return handed_over.into_iter().map(|c| self.arrived(c)).collect();
            }
            // Where every free worker is reserved there is nothing to claim.
            let polls = &mut self.polls;
            let rest = async { if unreserved > 0 { polls.next().await } else { tokio::time::sleep(IDLE_POLL).await } };
            tokio::select! {
                () = &mut signalled => {}
                () = rest => {}
            }
        }
    }

    /// See [`crate::bus::subscription::Source::rest`].
    async fn rest(&mut self) {
        for claimed in self.handover.rest() {
            self.receipt(&claimed).give_back().await;
        }
    }

    /// See [`crate::bus::subscription::Source::close`].
    async fn close(mut self) {
        self.rest().await;
        let until = Instant::now() + RESERVATIONS_END;
        while self.handover.is_reserved() && Instant::now() < until {
            tokio::time::sleep(BUSY_POLL).await;
        }
        self.rest().await;
        let Some(claiming) = self.claiming.take() else { return };
        for claimed in claiming.task.await.ok().and_then(Result::ok).unwrap_or_default() {
            self.receipt(&claimed).give_back().await;
        }
    }
}

impl Supply {
    /// What was due, and where nothing was, in how long the next delivery is.
    async fn claim(&mut self, free: usize) -> Result<(Vec<Claimed>, Option<Duration>), DbError> {
        if self.claiming.is_none() {
            self.polls.begin();
            // A poll costs a read; a claim occupies the single writer.
            match self.rows.next_due_in_ms(&self.consumer).await? {
                Some(due_in_ms) if due_in_ms <= 0 => {}
                Some(due_in_ms) => {
                    let due_in = Duration::from_millis(u64::try_from(due_in_ms).unwrap_or(0));
                    return Ok((Vec::new(), Some(due_in)));
                }
                None => return Ok((Vec::new(), None)),
            }
        }
        let (rows, consumer, lease_ms) = (&self.rows, &self.consumer, self.lease_ms);
        let claiming = self.claiming.get_or_insert_with(|| {
            let (rows, consumer, most) = (rows.clone(), consumer.clone(), free.min(MAX_CLAIM));
            Claiming { most, task: tokio::spawn(async move { rows.claim(&consumer, most, lease_ms).await }) }
        });
        let outcome = (&mut claiming.task).await;
        self.claiming = None;
        let claimed = outcome.unwrap_or_else(|e| Err(DbError::Defect(format!("a claim ended: {e}"))))?;
        // Where another process was faster, what it took may be due again any moment.
        Ok((claimed, Some(Duration::ZERO)))
    }

    fn receipt(&self, claimed: &Claimed) -> Receipt {
        let Claimed { seq, deliveries, size_bytes, .. } = *claimed;
        Receipt {
            ending: Ending::new(Finished {
                claim: Claim { seq, consumer: self.consumer.clone(), deliveries },
                frees: if self.empties { size_bytes } else { 0 },
            }),
            lease_ms: self.lease_ms,
            answers: Arc::clone(&self.answers),
        }
    }

    fn arrived(&self, claimed: Claimed) -> Arrived<Receipt> {
        let receipt = self.receipt(&claimed);
        let id = Message::id_of_key(&claimed.dedupe_key);
        Arrived {
            message: Message {
                subject: claimed.subject,
                id: id.unwrap_or_default(),
                payload: claimed.payload,
                headers: serde_json::from_str(&claimed.headers).unwrap_or_default(),
            },
            on_bus: u32::try_from(claimed.deliveries).unwrap_or(u32::MAX),
            published_at: Timestamp::from_ms(claimed.published_at_ms),
            first_error: claimed.first_error,
            alien: id.is_none(),
            apart: false,
            receipt,
        }
    }
}

/// One claimed delivery.
pub(in crate::bus) struct Receipt {
    ending: Ending,
    lease_ms: i64,
    answers: Arc<Answers>,
}

impl subscription::Receipt for Receipt {
    async fn ack(&self) {
        if !self.ending.is_committed() {
            self.answer(Answer::Done { frees: self.ending.finished().frees }).await;
        }
    }

    fn ending(&self) -> Option<Ending> {
        Some(self.ending.clone())
    }

    async fn wait(&self, after: Duration, first_error: &str) {
        let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        self.answer(Answer::Wait { after_ms, first_error: first_error.to_owned() }).await;
    }

    async fn give_back(&self) {
        self.answer(Answer::Release).await;
    }

    async fn keep_alive(&self) {
        let _ = self.answers.run((self.claim().clone(), Answer::Extend { lease_ms: self.lease_ms })).await;
    }

    fn has_room(&self) -> bool {
        // A waiting row takes none of the consumer's places.
        true
    }
}

impl Receipt {
    fn claim(&self) -> &Claim {
        &self.ending.finished().claim
    }

    /// Twice more on an error; then the lease expires and the message is redelivered.
    async fn answer(&self, answer: Answer) {
        for pause_ms in [50, 500, 0] {
            if self.answers.run((self.claim().clone(), answer.clone())).await == Ok(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        metrics::counter!("wxpay_bus_answers_lost_total", "consumer" => self.claim().consumer.clone()).increment(1);
    }
}
