//! Bundles: messages of one consumer that wait together, carried as one message.
//!
//! What must stay true: a bundle is opened whole or not at all; its members keep subject, id, headers and payload. A
//! message that counts attempts, or that is published again on purpose, is in none: what may end its worker must not
//! meet others there.

use serde::{Deserialize, Serialize};

use super::message::{AGAIN, ATTEMPTS, Message};
use super::topology::matches;
use crate::ids::EventId;

/// Most messages of a bundle.
pub(super) const MAX_MEMBERS: usize = 256;
/// Left for the bundle's own subject and headers.
const MARGIN: usize = 1024;
/// Header: the form of what follows. A later version that writes another one uses another subject, too.
const FORM: (&str, &str) = ("Wxpay-Bundle", "1");

/// What precedes a member's payload: a line of JSON.
#[derive(Serialize, Deserialize)]
struct Head {
    subject: String,
    id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    bytes: usize,
}

/// Messages as they are sent, and which of them each of the waiting ones is in.
pub(super) struct Packed {
    pub messages: Vec<Message>,
    /// How many waiting messages are in each.
    pub members: Vec<usize>,
    pub places: Vec<usize>,
}

impl Packed {
    /// Each as it is.
    pub fn singly(messages: Vec<Message>) -> Packed {
        let (members, places) = (vec![1; messages.len()], (0..messages.len()).collect());
        Packed { messages, members, places }
    }
}

/// Whether a message may travel with others of the consumer with this filter.
pub(super) fn may_join(filter: &str, message: &Message) -> bool {
    matches(filter, &message.subject) && message.header(AGAIN).is_none() && message.header(ATTEMPTS).is_none()
}

/// Puts together what may travel together, in bundles of at most so many bytes; `to` is the filter of their consumer,
/// `of` that of the members'. What would be alone in its bundle stays as it is.
pub(super) fn pack(messages: Vec<Message>, (to, of): (&str, &str), max_bytes: usize) -> Packed {
    let mut filling: Vec<Filling> = Vec::new();
    let mut places = Vec::with_capacity(messages.len());
    for message in messages {
        let to = may_join(of, &message).then(|| subject_of(to, &message.subject));
        let open = to.as_ref().and_then(|to| filling.iter().rposition(|one| one.to.as_ref() == Some(to)));
        let joined = open.filter(|place| filling.get_mut(*place).is_some_and(|one| one.takes(&message, max_bytes)));
        places.push(joined.unwrap_or(filling.len()));
        if joined.is_none() {
            filling.push(Filling { to, ids: vec![message.id], first: message, payload: Vec::new() });
        }
    }
    let members = filling.iter().map(|one| one.ids.len()).collect();
    Packed { messages: filling.into_iter().map(Filling::into_message).collect(), members, places }
}

/// A bundle that is being filled.
struct Filling {
    /// Its subject; none for a message that travels alone.
    to: Option<String>,
    first: Message,
    ids: Vec<EventId>,
    /// Of the members, once there are two.
    payload: Vec<u8>,
}

impl Filling {
    /// Whether the message is in it: it had room, or the same message is in it already.
    fn takes(&mut self, message: &Message, max_bytes: usize) -> bool {
        if self.ids.contains(&message.id) {
            return true;
        }
        if self.ids.len() >= MAX_MEMBERS {
            return false;
        }
        if self.payload.is_empty() {
            self.payload = encoded(&self.first);
        }
        let more = encoded(message);
        if self.payload.len() + more.len() + MARGIN > max_bytes {
            return false;
        }
        self.payload.extend(more);
        self.ids.push(message.id);
        true
    }

    fn into_message(self) -> Message {
        let Some(subject) = self.to.filter(|_| self.ids.len() > 1) else { return self.first };
        // The same members have the same id: a bundle that is sent again within the duplicate window is stored once.
        let ids: Vec<String> = self.ids.iter().map(ToString::to_string).collect();
        let digest = crate::secret::sha256_hex(ids.join("\n").as_bytes());
        let id = EventId::parse(&digest[..32]).unwrap_or_default();
        let headers = vec![(FORM.0.to_owned(), FORM.1.to_owned())];
        Message { subject, id, payload: self.payload, headers }
    }
}

/// The consumer's filter with the subject's words in the place of its wildcards.
fn subject_of(filter: &str, subject: &str) -> String {
    let words = filter.split('.').zip(subject.split('.').map(Some).chain(std::iter::repeat(None)));
    let words: Vec<&str> = words.map(|(want, word)| if want == "*" { word.unwrap_or(want) } else { want }).collect();
    words.join(".")
}

fn encoded(message: &Message) -> Vec<u8> {
    let head = Head {
        subject: message.subject.clone(),
        id: message.id.to_string(),
        headers: message.headers.clone(),
        bytes: message.payload.len(),
    };
    let mut bytes = serde_json::to_vec(&head).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend(&message.payload);
    bytes
}

/// The members of a bundle; none where it is no whole bundle of this form.
pub(super) fn open(bundle: &Message) -> Option<Vec<Message>> {
    if bundle.header(FORM.0) != Some(FORM.1) {
        return None;
    }
    let (mut rest, mut members) = (bundle.payload.as_slice(), Vec::new());
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (head, behind) = rest.split_at(end);
        let head: Head = serde_json::from_slice(head).ok()?;
        let (payload, behind) = behind.get(1..)?.split_at_checked(head.bytes)?;
        let id = EventId::parse(&head.id).ok()?;
        members.push(Message { subject: head.subject, id, payload: payload.to_vec(), headers: head.headers });
        rest = behind;
    }
    (!members.is_empty()).then_some(members)
}
