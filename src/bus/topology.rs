//! The topology: which streams and consumers exist, read from `nats/topology.toml`, which is compiled in.
//!
//! It is not configuration of a site: size, copies and `ack_wait` come from `[bus]`. What must stay true: a subject
//! belongs to at most one stream, and within a stream to at most one of our consumers, so that a deferred message that
//! is published again reaches only the consumer that deferred it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// The name of one of our consumers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerName(Cow<'static, str>);

impl ConsumerName {
    /// Places new orders.
    pub const PREPARE_ORDER: ConsumerName = ConsumerName(Cow::Borrowed("prepare-order"));
    /// Brings notifications to their orders. Those that come in bundles are its own, too.
    pub const SETTLE: ConsumerName = ConsumerName(Cow::Borrowed("settle"));
    /// Asks WeChat about orders.
    pub const QUERY: ConsumerName = ConsumerName(Cow::Borrowed("query"));
    /// Brings refunds on.
    pub const REFUND: ConsumerName = ConsumerName(Cow::Borrowed("refund"));

    /// A name from elsewhere; whether it exists, the topology tells.
    pub fn new(name: impl Into<String>) -> ConsumerName {
        ConsumerName(Cow::Owned(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConsumerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a topology cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Not the expected TOML.
    #[error("topology: {0}")]
    Malformed(#[from] toml::de::Error),
    /// Two entries contradict each other, or a value is out of range.
    #[error("topology: {0}")]
    Contradiction(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    pub streams: Vec<StreamSpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    pub name: String,
    /// Subjects it takes; `*` is one token, a final `>` the rest.
    pub subjects: Vec<String>,
    /// Largest message, headers included.
    pub max_message_bytes: u32,
    /// Most messages kept; absent: no limit but size.
    pub max_messages: Option<u64>,
    /// How long an id is remembered.
    pub duplicate_window_ms: u64,
    /// How long a message is kept at most.
    pub max_age_hours: u64,
    /// Whether messages that every consumer acknowledged may be removed early when space gets short.
    pub purge_acknowledged: bool,
    /// What a full stream does.
    pub discard: Discard,
    #[serde(default)]
    pub consumers: Vec<ConsumerSpec>,
}

/// What a full stream does with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// Refuses it: nothing that was accepted is lost, and the publisher comes again.
    New,
    /// Takes it and drops its oldest: for what can be had elsewhere.
    Old,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerSpec {
    /// Its name, also the durable name on NATS.
    pub name: String,
    /// Subjects it wants.
    pub filter: String,
    /// Another consumer of the stream: each message here holds several of its messages.
    pub bundles: Option<String>,
    /// How long a delivery may go without a sign of life; `bus.ack_wait_ms` replaces it.
    #[serde(default = "default_ack_wait_ms")]
    pub ack_wait_ms: u64,
    /// Deliveries under way over all processes.
    pub max_ack_pending: u32,
    /// How long a handler may work on one delivery before it counts as stuck.
    pub max_handling_ms: u64,
    /// Attempts after which a message is parked.
    pub max_attempts: u32,
}

const fn default_ack_wait_ms() -> u64 {
    30_000
}

impl ConsumerSpec {
    /// How long a delivery may go without a sign of life.
    pub fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms)
    }

    /// How long a handler may work on one delivery.
    pub fn max_handling(&self) -> Duration {
        Duration::from_millis(self.max_handling_ms)
    }
}

impl StreamSpec {
    /// Whether the stream takes this subject.
    pub fn takes(&self, subject: &str) -> bool {
        self.subjects.iter().any(|pattern| matches(pattern, subject))
    }

    /// A consumer of bundles, and the one whose messages are in them. At most one of a stream.
    pub(super) fn bundles(&self) -> Option<(&ConsumerSpec, &ConsumerSpec)> {
        let bundles = self.consumers.iter().find(|consumer| consumer.bundles.is_some())?;
        let of = bundles.bundles.as_deref()?;
        Some((bundles, self.consumers.iter().find(|consumer| consumer.name == of)?))
    }
}

impl Topology {
    /// The topology of this version of the service, with `bus.ack_wait_ms`.
    pub fn builtin(ack_wait: Duration) -> Result<Topology, TopologyError> {
        let mut topology = Topology::parse(include_str!("../../nats/topology.toml"))?;
        for consumer in topology.streams.iter_mut().flat_map(|stream| &mut stream.consumers) {
            consumer.ack_wait_ms = u64::try_from(ack_wait.as_millis()).unwrap_or(u64::MAX);
        }
        topology.check()?;
        Ok(topology)
    }

    /// Without the consumers of bundles: for a bus that carries none.
    pub(super) fn without_bundles(mut self) -> Topology {
        for stream in &mut self.streams {
            stream.consumers.retain(|consumer| consumer.bundles.is_none());
        }
        self
    }

    /// Parses and checks a topology.
    pub fn parse(text: &str) -> Result<Topology, TopologyError> {
        let topology: Topology = toml::from_str(text)?;
        topology.check()?;
        Ok(topology)
    }

    fn check(&self) -> Result<(), TopologyError> {
        let wrong = |text: String| Err(TopologyError::Contradiction(text));
        let mut names: Vec<&str> = Vec::new();
        for stream in &self.streams {
            for consumer in &stream.consumers {
                if names.contains(&consumer.name.as_str()) {
                    return wrong(format!("consumer {} is there twice", consumer.name));
                }
                if consumer.ack_wait_ms < 300 || consumer.max_ack_pending == 0 || consumer.max_attempts == 0 {
                    return wrong(format!("consumer {} has a limit that is too small", consumer.name));
                }
                if consumer.max_handling_ms < consumer.ack_wait_ms {
                    return wrong(format!("consumer {} calls handlers stuck before they could be slow", consumer.name));
                }
                names.push(&consumer.name);
            }
            if let Some(why) = wrong_bundles(stream) {
                return wrong(why);
            }
            let filters: Vec<&str> = stream.consumers.iter().map(|c| c.filter.as_str()).collect();
            if let Some((a, b)) = overlapping(&filters) {
                return wrong(format!("consumer filters {a} and {b} share subjects"));
            }
        }
        let subjects: Vec<&str> = self.streams.iter().flat_map(|s| s.subjects.iter().map(String::as_str)).collect();
        match overlapping(&subjects) {
            Some((a, b)) => wrong(format!("stream subjects {a} and {b} share subjects")),
            None => Ok(()),
        }
    }

    /// The stream that takes this subject.
    pub fn stream_of(&self, subject: &str) -> Option<&StreamSpec> {
        self.streams.iter().find(|s| s.takes(subject))
    }

    /// A consumer and its stream.
    pub fn consumer(&self, name: &ConsumerName) -> Option<(&StreamSpec, &ConsumerSpec)> {
        self.streams.iter().find_map(|s| s.consumers.iter().find(|c| c.name == name.as_str()).map(|c| (s, c)))
    }
}

/// What is wrong with a stream's consumer of bundles.
fn wrong_bundles(stream: &StreamSpec) -> Option<String> {
    let all: Vec<&ConsumerSpec> = stream.consumers.iter().filter(|consumer| consumer.bundles.is_some()).collect();
    let first = all.first()?;
    let of = stream.bundles().map(|(_, of)| of).filter(|of| of.bundles.is_none());
    if all.len() > 1 || of.is_none() {
        return Some(format!("consumer {} has bundles of no consumer, or is one of several", first.name));
    }
    // The subject of a bundle is made from its first member's.
    let is_fixed = first.filter.split('.').all(|token| token != ">");
    (!is_fixed).then(|| format!("consumer {} has a filter from which no subject can be made", first.name))
}

fn overlapping<'a>(patterns: &[&'a str]) -> Option<(&'a str, &'a str)> {
    patterns.iter().enumerate().find_map(|(i, a)| patterns[i + 1..].iter().find(|b| overlap(a, b)).map(|b| (*a, *b)))
}

/// Whether a subject may fall under both patterns.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(x), Some(y)) if x == y || x == "*" || y == "*" => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

/// Whether a subject falls under a pattern, by NATS' rules.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(want), Some(token)) if want == "*" || want == token => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

/// Whether a text can be published to: tokens without blanks, control characters or wildcards.
pub fn is_subject(subject: &str) -> bool {
    subject.len() <= 255
        && subject
            .split('.')
            .all(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>'))
}
