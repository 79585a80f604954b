//! Records of a spool that are forwarded together.
//!
//! What must stay true: a batch that is forwarded again has the same messages, so that the bus makes the same bundles
//! of them, which the server knows. What no stream will ever take is kept aside and holds up no other.

use std::collections::BTreeSet;
use std::path::Path;

use super::blocking::blocking;
use super::settle::message_of;
use crate::bus::{Bus, Message, Parcel, PublishError};
use crate::intake::{Durable, keep_aside};

/// Records that are forwarded together: several bundles of the bus.
pub(super) const MAX_FORWARDED: usize = 1024;

pub(super) struct Batch {
    records: Vec<Durable>,
    parcel: Parcel,
    /// Which record each message of the parcel is.
    places: Vec<usize>,
    /// Records that are no messages, and why.
    unfit: Vec<(usize, String)>,
    kept: BTreeSet<usize>,
}

impl Batch {
    pub fn new(records: Vec<Durable>) -> Batch {
        let (mut messages, mut places, mut unfit) = (Vec::<Message>::new(), Vec::new(), Vec::new());
        for (place, durable) in records.iter().enumerate() {
            match message_of(&durable.record) {
                Ok(message) => {
                    messages.push(message);
                    places.push(place);
                }
                Err(why) => unfit.push((place, why)),
            }
        }
        Batch { records, parcel: Parcel::new(messages), places, unfit, kept: BTreeSet::new() }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether any of them was accepted and is no message: only WeChat knows by now what it said.
    pub fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Publishes all of them. An error where they are to be published again.
    pub async fn forward(&mut self, bus: &Bus, place: (&Path, &str)) -> Result<(), String> {
        // What they acknowledge may be lost with the power, and the log is the only copy.
        let trusted = || bus.objection().map_or(Ok(()), Err);
        trusted()?;
        let mut unfit = self.unfit.clone();
        let mut failed = None;
        for (outcome, place) in bus.publish_all(&self.parcel).await.into_iter().zip(&self.places) {
            match outcome {
                Ok(()) => {}
                Err(e @ (PublishError::TooLarge | PublishError::Misdirected(_))) => unfit.push((*place, e.to_string())),
                Err(e @ (PublishError::Unavailable(_) | PublishError::Full | PublishError::Timeout)) => {
                    failed.get_or_insert(e.to_string());
                }
            }
        }
        for (record, why) in unfit {
            self.keep(record, place, &why).await?;
        }
        failed.map_or(Ok(()), Err)?;
        trusted()
    }

    async fn keep(&mut self, place: usize, (parent, log): (&Path, &str), why: &str) -> Result<(), String> {
        let Some(durable) = self.records.get(place).filter(|_| !self.kept.contains(&place)) else { return Ok(()) };
        let (parent, name) = (parent.to_owned(), log.to_owned());
        let (position, bytes) = (durable.from, durable.record.to_bytes());
        let kept = blocking(move || keep_aside(&parent, &name, position, &bytes)).await?;
        tracing::error!(log, position, why, ?kept, "a record of an intake log is no message: its bytes are kept");
        self.kept.insert(place);
        Ok(())
    }
}
