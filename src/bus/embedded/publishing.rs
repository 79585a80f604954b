//! Storing what is published: what waits is stored together.

use std::collections::HashMap;
use std::sync::Arc;

use super::handover::{Handover, Reservation};
use crate::batcher::{Group, Limits};
use crate::bus::types::PublishError;
use crate::store::queue::{BusRows, Claimed, Inserted, NewRow, Stored, StreamLimit, Taker};

/// How messages reach this process's free workers of a consumer without a search of the queue.
pub(super) struct LocalConsumer {
    pub handover: Arc<Handover>,
    /// For how long a delivery is leased.
    pub lease_ms: i64,
}

pub(super) fn publishing(
    rows: BusRows,
    limits: HashMap<String, StreamLimit>,
    consumers: Arc<HashMap<String, LocalConsumer>>,
) -> Group<NewRow, Result<(), PublishError>> {
    let limits = Arc::new(limits);
    Group::new(Limits { max_batch: 1024, queue: 8192 }, move |mut batch: Vec<NewRow>| {
        let (rows, limits, consumers) = (rows.clone(), Arc::clone(&limits), Arc::clone(&consumers));
        async move {
            let reservations = reserve(&mut batch, &consumers);
            let batch = Arc::new(batch);
            match rows.insert(Arc::clone(&batch), limits).await {
                Ok(Inserted { outcomes, new }) => {
                    crate::failpoint::point("bus.stored");
                    for (consumer, reservation) in reservations {
                        let of = |taker: &&Taker| taker.consumer == consumer;
                        let stored = new.iter().filter_map(|new| {
                            let row = batch.get(new.place)?;
                            Some((new, row, row.consumers.iter().find(of)?))
                        });
                        let (mut claimed, mut others) = (Vec::new(), false);
                        for (new, row, taker) in stored {
                            match taker.lease_ms {
                                Some(_) => claimed.push(claimed_at_once(row, new.seq, new.published_at_ms)),
                                None => others = true,
                            }
                        }
                        reservation.keep(claimed, others);
                    }
                    let outcome = |s| match s {
                        Stored::Yes => Ok(()),
                        Stored::Full => Err(PublishError::Full),
                    };
                    outcomes.into_iter().map(outcome).collect()
                }
                Err(e) => {
                    let why = e.to_string();
                    tracing::warn!(error = why, messages = batch.len(), "messages were not stored");
                    batch.iter().map(|_| Err(PublishError::Unavailable(why.clone()))).collect()
                }
            }
        }
    })
}

/// The batch's consumers, each with as many of its workers as are free and needed; their messages are marked as leased.
fn reserve(batch: &mut [NewRow], consumers: &HashMap<String, LocalConsumer>) -> Vec<(String, Reservation)> {
    let mut wanted: HashMap<String, usize> = HashMap::new();
    for taker in batch.iter().flat_map(|row| &row.consumers) {
        *wanted.entry(taker.consumer.clone()).or_default() += 1;
    }
    let mut reservations = Vec::with_capacity(wanted.len());
    for (consumer, count) in wanted {
        let Some(local) = consumers.get(&consumer) else { continue };
        let reservation = local.handover.reserve(count);
        let takers = batch.iter_mut().flat_map(|row| &mut row.consumers).filter(|taker| taker.consumer == consumer);
        takers.take(reservation.count).for_each(|taker| taker.lease_ms = Some(local.lease_ms));
        reservations.push((consumer, reservation));
    }
    reservations
}

fn claimed_at_once(row: &NewRow, seq: i64, published_at_ms: i64) -> Claimed {
    Claimed {
        seq,
        deliveries: 1,
        first_error: None,
        subject: row.subject.clone(),
        dedupe_key: row.dedupe_key.clone(),
        payload: row.payload.clone(),
        headers: row.headers.clone(),
        size_bytes: row.size_bytes,
        published_at_ms,
    }
}
