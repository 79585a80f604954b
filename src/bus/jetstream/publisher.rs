//! Publishing to one stream: what waits is sent together.
//!
//! Messages of a consumer that takes bundles go as one message where they wait together and a process reads bundles:
//! one acknowledgement of the server for all of them, and later one of the worker's. How what is packed is sent, is in
//! `sending.rs`.
//!
//! What must stay true: a message counts as stored only by an acknowledgement that covers it; what one caller hands in
//! to be packed by itself shares no bundle with what others hand in.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::connection::State;
use metrics::counter;

use super::core::Core;
use super::sending::{Outcome, send_packed};
use crate::batcher::{Group, Limits};
use crate::bus::bundle;
use crate::bus::bundle::Packed;
use crate::bus::callers::Callers;
use crate::bus::message::Message;
use crate::bus::parcel::Packing;
use crate::bus::topology::StreamSpec;
use crate::bus::types::{PublishError, lane_of};
use crate::ids::EventId;
use crate::telemetry::{BUS_BUNDLED_MESSAGES_TOTAL, BUS_BUNDLES_TOTAL};

/// Half of what a server takes by default, whatever the stream allows.
const MAX_BUNDLE_BYTES: usize = 512 << 10;
/// Batches under way at once, each for other subjects.
const PARTITIONS: usize = 2;

/// Publishes to one stream.
pub(super) struct Publisher {
    core: Arc<Core>,
    stream: Arc<StreamSpec>,
    group: Group<Handed, Vec<Outcome>>,
    callers: Arc<Callers>,
}

/// What one caller hands in.
struct Handed {
    messages: Vec<Message>,
    how: How,
}

/// How messages are packed.
enum How {
    /// With those of other callers that wait.
    WithOthers,
    /// By themselves, in bundles of at most so many bytes; none: each for itself.
    ByThemselves(Option<usize>),
}

impl Publisher {
    /// For one stream: an atomic batch cannot span two.
    pub fn new(core: Arc<Core>, stream: StreamSpec) -> Publisher {
        let limits = Limits { max_batch: 2000, queue: 8192 };
        let stream = Arc::new(stream);
        let by_subject = |handed: &Handed| handed.messages.first().map_or(0, |message| lane_of(&message.subject));
        let (of, to) = (Arc::clone(&core), Arc::clone(&stream));
        let group = Group::partitioned(limits, PARTITIONS, by_subject, move |handed| {
            send(Arc::clone(&of), Arc::clone(&to), handed)
        });
        Publisher { core, stream, group, callers: Arc::default() }
    }

    /// See [`crate::bus::Bus::publish`].
    pub async fn publish(&self, message: Message) -> Outcome {
        let _caller = self.callers.waits();
        let lost = || Err(PublishError::Unavailable("the message was not sent".into()));
        self.hand_in(vec![message], How::WithOthers).await.pop().unwrap_or_else(lost)
    }

    /// Those of single messages: parcels are what no caller waits for.
    pub fn callers(&self) -> &Arc<Callers> {
        &self.callers
    }

    /// See [`crate::bus::Bus::publish_all`].
    pub async fn publish_all(&self, messages: Vec<Message>, packing: &Packing) -> Vec<Outcome> {
        let most_bytes = match packing.known() {
            Some(most_bytes) => most_bytes,
            None => match self.most_bytes().await {
                Ok(most_bytes) => packing.decide(most_bytes),
                Err(e) => return vec![Err(e); messages.len()],
            },
        };
        self.hand_in(messages, How::ByThemselves(most_bytes)).await
    }

    async fn hand_in(&self, messages: Vec<Message>, how: How) -> Vec<Outcome> {
        let count = messages.len();
        match self.group.run(Handed { messages, how }).await {
            Ok(outcomes) => outcomes,
            Err(e) => vec![Err(PublishError::Unavailable(e.to_string())); count],
        }
    }

    /// How large bundles are now; none where no process reads them. Asked before the lane is taken: it may take long.
    async fn most_bytes(&self) -> Result<Option<usize>, PublishError> {
        let Some((bundles, _)) = self.stream.bundles().filter(|_| self.core.bundles) else { return Ok(None) };
        let is_connected = || self.core.client.connection_state() == State::Connected;
        let away = || PublishError::Unavailable("there is no connection".into());
        if !is_connected() {
            return Err(away());
        }
        match self.core.readers.answer((&self.core.context, &self.stream, bundles)).await {
            Some(true) => Ok(Some(largest(&self.core, &self.stream))),
            Some(false) => Ok(None),
            None if is_connected() => Ok(None),
            None => Err(away()),
        }
    }
}

/// Messages that are packed together.
#[derive(Default)]
struct Lot {
    messages: Vec<Message>,
    /// None: as it is decided now.
    most_bytes: Option<Option<usize>>,
}

/// What became of a message as it was packed.
enum Became {
    Whole(Outcome),
    /// A bundle that the server takes no more, member by member.
    Members(HashMap<EventId, Outcome>),
}

async fn send(core: Arc<Core>, stream: Arc<StreamSpec>, handed: Vec<Handed>) -> Vec<Vec<Outcome>> {
    let mut lots = vec![Lot::default()];
    // Of each caller: its lot, and where in it its messages begin.
    let mut callers = Vec::with_capacity(handed.len());
    for Handed { messages, how } in handed {
        let most_bytes = match how {
            How::WithOthers => None,
            How::ByThemselves(most_bytes) => Some(most_bytes),
        };
        if most_bytes.is_some() {
            lots.push(Lot { messages: Vec::new(), most_bytes });
        }
        let place = if most_bytes.is_some() { lots.len() - 1 } else { 0 };
        let Some(lot) = lots.get_mut(place) else { continue };
        callers.push((place, lot.messages.len(), messages.len()));
        lot.messages.extend(messages);
    }
    let (mut messages, mut members, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for Lot { messages: of, most_bytes } in lots {
        let ids: Vec<EventId> = of.iter().map(|message| message.id).collect();
        let before = messages.len();
        let packed = packed(&core, &stream, of, most_bytes).await;
        places.push(ids.into_iter().zip(packed.places.iter().map(|place| place + before)).collect::<Vec<_>>());
        messages.extend(packed.messages);
        members.extend(packed.members);
    }
    let became = send_bundles(&core, &stream, messages, &members).await;
    let outcome_of = |(id, place): &(EventId, usize)| {
        let found = match became.get(*place) {
            Some(Became::Whole(outcome)) => Some(outcome),
            Some(Became::Members(outcomes)) => outcomes.get(id),
            None => None,
        };
        found.cloned().unwrap_or_else(|| Err(PublishError::Unavailable("the message was not sent".into())))
    };
    let of_caller = |(lot, from, count): (usize, usize, usize)| {
        places.get(lot).into_iter().flatten().skip(from).take(count).map(outcome_of).collect()
    };
    callers.into_iter().map(of_caller).collect()
}

/// Sends what was packed. Of a bundle that is too large by now, as where a person set a smaller limit, the members go
/// singly: only what is too large alone is refused for good.
async fn send_bundles(core: &Core, stream: &StreamSpec, messages: Vec<Message>, members: &[usize]) -> Vec<Became> {
    let is_bundle = |place: usize| members.get(place).is_some_and(|members| *members > 1);
    let bundles: HashMap<usize, Message> =
        messages.iter().enumerate().filter(|(place, _)| is_bundle(*place)).map(|(at, one)| (at, one.clone())).collect();
    let outcomes = send_packed(core, stream, messages).await;
    let mut all = Vec::with_capacity(outcomes.len());
    for ((place, outcome), members) in outcomes.into_iter().enumerate().zip(members) {
        let Some(bundle) = bundles.get(&place) else {
            all.push(Became::Whole(outcome));
            continue;
        };
        if outcome.is_ok() {
            crate::failpoint::point("bus.bundle_stored");
        }
        let label = if outcome.is_ok() { "stored" } else { "not_stored" };
        counter!(BUS_BUNDLES_TOTAL, "outcome" => label).increment(1);
        counter!(BUS_BUNDLED_MESSAGES_TOTAL, "outcome" => label).increment(*members as u64);
        let refused = bundle::open(bundle).filter(|_| outcome == Err(PublishError::TooLarge));
        all.push(match refused {
            Some(members) => {
                tracing::warn!(members = members.len(), "the server takes no bundle of this size: sending singly");
                let ids: Vec<EventId> = members.iter().map(|member| member.id).collect();
                Became::Members(ids.into_iter().zip(send_packed(core, stream, members).await).collect())
            }
            None => Became::Whole(outcome),
        });
    }
    all
}

/// In bundles what may travel so.
async fn packed(core: &Core, stream: &StreamSpec, messages: Vec<Message>, decided: Option<Option<usize>>) -> Packed {
    let Some((bundles, of)) = stream.bundles().filter(|_| core.bundles) else { return Packed::singly(messages) };
    let several = messages.iter().filter(|message| bundle::may_join(&of.filter, message)).count() > 1;
    if !several {
        return Packed::singly(messages);
    }
    let most_bytes = match decided {
        Some(most_bytes) => most_bytes,
        None => core.readers.are_there((&core.context, stream, bundles)).await.then(|| largest(core, stream)),
    };
    match most_bytes {
        Some(most_bytes) => bundle::pack(messages, (&bundles.filter, &of.filter), most_bytes),
        None => Packed::singly(messages),
    }
}

/// Most bytes of a bundle.
fn largest(core: &Core, stream: &StreamSpec) -> usize {
    core.client.server_info().max_payload.min(stream.max_message_bytes as usize).min(MAX_BUNDLE_BYTES)
}
