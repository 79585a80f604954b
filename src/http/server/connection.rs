//! Where a connection stands: waiting for a request, reading its head, or answering it. Each has its own clock; that of
//! an answer runs while the client reads nothing of it.
//!
//! The HTTP library knows one timeout for heads that also ends idle connections; here the two differ, so the bytes are
//! watched on their way in. The same watch sees heads as they were sent: the library silently drops `Content-Length`
//! where there is `Transfer-Encoding`, and a request that has both is how one request is smuggled behind another.
//! What must stay true: no head reaches a route without having been checked here, pipelined ones included.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Read buffer of a connection: a head that does not fit is answered 431.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Who is at the other end of the connection; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Remote(pub SocketAddr);

/// Set on a request for which there is no room at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Overloaded;

/// Set on a request whose length is stated in two ways.
#[derive(Debug, Clone, Copy)]
pub struct Ambiguous;

/// The clocks of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a head, from its first byte (for the first head: from the connection's start).
    pub header: Duration,
    /// Between an answer and the next head.
    pub idle: Duration,
}

#[derive(Debug)]
enum Stand {
    Idle { until: Instant },
    Head { until: Instant },
    Busy,
}

#[derive(Debug)]
struct State {
    stand: Stand,
    /// What came since the last request's end; until the head is complete, body bytes may be behind it.
    head: Vec<u8>,
    /// Bytes that came with these and did not fit.
    left_out: u64,
    /// Of the body of the request that is being answered: bytes still to come.
    body_left: u64,
    /// Since when the client has read nothing of its answer, where it has to.
    unread_since: Option<Instant>,
}

/// One connection's stand, shared by its bytes, its requests and its clock.
#[derive(Debug, Clone)]
pub struct Phase {
    state: Arc<Mutex<State>>,
    limits: Limits,
}

impl Phase {
    /// A connection that was just accepted.
    pub fn new(limits: Limits) -> Phase {
        let stand = Stand::Head { until: Instant::now() + limits.header };
        let state = State { stand, head: Vec::new(), left_out: 0, body_left: 0, unread_since: None };
        Phase { state: Arc::new(Mutex::new(state)), limits }
    }

    /// When the connection is closed if nothing happens; while a request is answered, only where the client does not
    /// read its answer.
    pub fn deadline(&self) -> Option<Instant> {
        let state = self.lock();
        match state.stand {
            Stand::Idle { until } | Stand::Head { until } => Some(until),
            Stand::Busy => state.unread_since.map(|since| since + self.limits.idle),
        }
    }

    /// Since when no request is under way: the head of the next one may have begun.
    pub fn waits_since(&self) -> Option<Instant> {
        match self.lock().stand {
            Stand::Idle { until } => until.checked_sub(self.limits.idle),
            Stand::Head { until } => until.checked_sub(self.limits.header),
            Stand::Busy => None,
        }
    }

    /// A head is complete; `body_length` is that of the body behind it, where it is stated. Says whether the head
    /// states its length in two ways, or could not be checked.
    pub fn begin(&self, body_length: Option<u64>) -> (Busy, bool) {
        let mut state = self.lock();
        state.stand = Stand::Busy;
        let came = std::mem::take(&mut state.head);
        let Some(end) = head_end(&came) else { return (Busy(self.clone()), true) };
        let (head, behind) = came.split_at(end);
        // A body without a stated length ends its connection: what comes behind it is never read as a head.
        let length = body_length.unwrap_or(u64::MAX);
        let of_body = usize::try_from(length).unwrap_or(usize::MAX).min(behind.len());
        state.head = behind[of_body..].to_vec();
        let missing = length.saturating_sub(of_body as u64);
        state.body_left = missing.saturating_sub(state.left_out);
        state.left_out = state.left_out.saturating_sub(missing);
        (Busy(self.clone()), states_length_twice(head))
    }

    /// Whether more has come than the request that is being answered: a pipelined one.
    pub fn has_more(&self) -> bool {
        let state = self.lock();
        !state.head.is_empty() || state.left_out > 0
    }

    fn wrote<T>(&self, polled: &Poll<io::Result<T>>) {
        let mut state = self.lock();
        match polled {
            Poll::Pending => {
                state.unread_since.get_or_insert_with(Instant::now);
            }
            Poll::Ready(_) => state.unread_since = None,
        }
    }

    fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let of_body = usize::try_from(state.body_left).unwrap_or(usize::MAX).min(bytes.len());
        state.body_left -= of_body as u64;
        let bytes = &bytes[of_body..];
        if bytes.is_empty() {
            return;
        }
        match state.stand {
            Stand::Idle { .. } => state.stand = Stand::Head { until: Instant::now() + self.limits.header },
            Stand::Head { .. } | Stand::Busy => {}
        }
        // Behind a gap nothing is kept: two pieces put together would make a head that no client sent.
        let room = if state.left_out > 0 { 0 } else { MAX_HEAD_BYTES.saturating_sub(state.head.len()) };
        let (kept, left_out) = bytes.split_at(bytes.len().min(room));
        state.head.extend_from_slice(kept);
        state.left_out += left_out.len() as u64;
    }

    fn end(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        state.stand = if state.head.is_empty() {
            Stand::Idle { until: now + self.limits.idle }
        } else {
            Stand::Head { until: now + self.limits.header }
        };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request is being answered until this is dropped.
#[derive(Debug)]
pub struct Busy(Phase);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Where the head ends that these bytes begin with: behind its empty line. Empty lines before it do not count, and a
/// line may end without a carriage return: the HTTP library reads both like this.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    let mut begun = false;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        end += line.len();
        let empty = matches!(line, b"\n" | b"\r\n");
        if begun && empty {
            return Some(end);
        }
        begun |= !empty;
    }
    None
}

fn states_length_twice(head: &[u8]) -> bool {
    let (mut length, mut encoding) = (false, false);
    for line in head.split(|b| *b == b'\n') {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        length |= name.eq_ignore_ascii_case(b"content-length");
        encoding |= name.eq_ignore_ascii_case(b"transfer-encoding");
    }
    length && encoding
}

/// A connection whose incoming bytes are watched.
pub struct Watched<S> {
    inner: S,
    phase: Phase,
}

impl<S> Watched<S> {
    pub fn new(inner: S, phase: Phase) -> Watched<S> {
        Watched { inner, phase }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let new = &buf.filled()[before..];
        if !new.is_empty() {
            self.phase.read(new);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.phase.wrote(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.phase.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
