//! The body of an answer, and what lasts as long as it.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::connection::Busy;
use super::connections::Under;

/// An answer's body; the request counts as being answered, and has its room, until it is dropped.
pub struct Answer {
    body: Body,
    _busy: Busy,
    _room: Option<Under>,
}

impl Answer {
    /// Holds `busy` and `room` until `body` is dropped.
    pub fn new(body: Body, busy: Busy, room: Option<Under>) -> Answer {
        Answer { body, _busy: busy, _room: room }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
