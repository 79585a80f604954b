//! Messages as NATS carries them, in both directions.

use crate::bus::message::Message;
use crate::clock::Timestamp;

pub(super) fn timestamp(time: async_nats::datetime::DateTime) -> Timestamp {
    Timestamp::from_ms(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
}

/// The headers of a message on the wire, its key included.
pub(super) fn to_wire(message: &Message) -> async_nats::HeaderMap {
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in &message.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    headers.insert(async_nats::header::NATS_MESSAGE_ID, message.dedupe_key().as_str());
    headers
}

/// A message from the wire, and whether another publisher sent it. A message without an id of ours gets one that is
/// stable across redeliveries: it is derived from the stream sequence.
pub(super) fn from_wire(
    subject: &str,
    payload: &[u8],
    headers: Option<&async_nats::HeaderMap>,
    place: (&str, u64),
) -> (Message, bool) {
    let key = headers.and_then(|h| h.get_last(async_nats::header::NATS_MESSAGE_ID)).map(|v| v.as_str());
    let id = key.and_then(Message::id_of_key);
    let ours = |name: &str| !name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"));
    let listed = headers.into_iter().flat_map(|h| h.iter()).filter_map(|(name, values)| {
        let name: &str = name.as_ref();
        ours(name).then(|| Some((name.to_owned(), values.last()?.as_str().to_owned()))).flatten()
    });
    let message = Message {
        subject: subject.to_owned(),
        id: id.unwrap_or_else(|| id_of_place(place)),
        payload: payload.to_vec(),
        headers: listed.collect(),
    };
    (message, id.is_none())
}

fn id_of_place((stream, seq): (&str, u64)) -> crate::ids::EventId {
    let digest = crate::secret::sha256_hex(format!("{stream}\n{seq}").as_bytes());
    crate::ids::EventId::parse(&digest[..32]).unwrap_or_default()
}
