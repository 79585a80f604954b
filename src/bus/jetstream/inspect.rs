//! NATS, read without changing anything: what its servers guarantee, and the streams with their messages.

use async_nats::jetstream;
use async_nats::jetstream::stream::RawMessageErrorKind;

use super::connect;
use super::connection::JetStream;
use super::headers::{from_wire, timestamp};
use super::provision::is_missing;
use crate::bus::bundle;
use crate::bus::peek::{Peek, Peeked, StreamView};
use crate::bus::topology::{ConsumerSpec, StreamSpec, Topology};
use crate::bus::types::{ConnectError, Fill, Inspected, LagError};
use crate::config;

/// See [`crate::bus::Bus::inspect`].
pub(in crate::bus) async fn inspect(settings: &config::Bus, topology: &Topology) -> Result<Inspected, ConnectError> {
    let (client, _connections) = connect::connect(settings).await?;
    let report = connect::inspect(settings, &client).await;
    // What a server that is refused says of its streams does not matter.
    if report.is_err() {
        return Ok(Inspected { report, fill: Vec::new(), missing: Vec::new() });
    }
    let context = jetstream::context::ContextBuilder::new().timeout(crate::bus::PUBLISH_TIMEOUT).build(client);
    let (mut fill, mut missing) = (Vec::new(), Vec::new());
    for spec in &topology.streams {
        match context.get_stream(&spec.name).await {
            Ok(stream) => {
                let info = stream.cached_info();
                fill.extend(Fill::of(spec, info.state.bytes, info.config.max_bytes));
            }
            Err(e) if is_missing(&e.kind()) => missing.push(spec.name.clone()),
            Err(e) => return Err(ConnectError::Unanswered(format!("stream {}: {e}", spec.name))),
        }
    }
    Ok(Inspected { report, fill, missing })
}

impl JetStream {
    /// See [`crate::bus::Bus::streams`].
    pub async fn streams(&self) -> Result<Vec<StreamView>, LagError> {
        let mut all = Vec::new();
        for spec in &self.topology().streams {
            let stream = self.context().get_stream(&spec.name).await.map_err(|e| LagError(e.to_string()))?;
            let info = stream.cached_info();
            all.push(StreamView::of(spec, info.state.messages, info.state.bytes, info.config.max_bytes));
        }
        Ok(all)
    }

    /// See [`crate::bus::Bus::peek`].
    pub async fn peek(
        &self,
        stream: &StreamSpec,
        consumer: Option<&ConsumerSpec>,
        peek: &Peek,
    ) -> Result<Vec<Peeked>, LagError> {
        let failed = |e: &dyn std::fmt::Display| LagError(e.to_string());
        let found = self.context().get_stream(&stream.name).await.map_err(|e| failed(&e))?;
        let (mut after, subjects) = match consumer {
            None => (peek.after, ">"),
            Some(spec) => {
                let info = found.consumer_info(&spec.name).await.map_err(|e| failed(&e))?;
                (peek.after.max(info.ack_floor.stream_sequence), spec.filter.as_str())
            }
        };
        let mut all = Vec::new();
        while all.len() < peek.limit {
            match found.get_first_raw_message_by_subject(subjects, after.saturating_add(1)).await {
                Ok(raw) => {
                    after = raw.sequence;
                    let key =
                        raw.headers.get_last(async_nats::header::NATS_MESSAGE_ID).map(async_nats::HeaderValue::as_str);
                    let at = (raw.sequence, timestamp(raw.time));
                    let place = (stream.name.as_str(), raw.sequence);
                    let (message, _) = from_wire(&raw.subject, &raw.payload, Some(&raw.headers), place);
                    match bundle::open(&message) {
                        // All of a bundle: its members have its number, and the next page begins behind it.
                        Some(members) => all.extend(members.into_iter().map(|member| Peeked::of_bundle(at, member))),
                        None => all.push(Peeked::new(at, raw.subject.to_string(), key, message.payload)),
                    }
                }
                Err(e) if matches!(e.kind(), RawMessageErrorKind::NoMessageFound) => break,
                Err(e) => return Err(failed(&e)),
            }
        }
        Ok(all)
    }
}
