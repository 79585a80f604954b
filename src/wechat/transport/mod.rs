//! The HTTP client for WeChat: sends and receives bytes. It knows hosts, time limits and sizes, and nothing of the
//! contents.
//!
//! `Wire` is what every call shares, to the pay hosts and to the platform alike; [`Client`] adds what holds for the pay
//! hosts: there are two of them.
//!
//! A call goes to the host that answered last (at first the main one) and, when that brings no answer within a second,
//! to the other host as well, which is another site with the same paths. This is right even after a timeout, when the
//! first call may have been executed: every call of API v2 is identified by the merchant's own number, and repeating it
//! with the same body changes nothing. But a refusal of the repeat then says nothing about the first call, so the reply
//! tells when there was one.
//!
//! A refusal by the only host that a call was sent to proves that it was not executed. Whether an earlier call of the
//! number was, the caller knows: after one that may have been, at either host, neither a refusal nor "no such order"
//! ends an order. A refund is sent to one host alone: its next call goes to the other one.
//!
//! What must stay true: no redirect is followed (a signed body must not go to another host), no proxy of the
//! environment is used, a reply that is read whole is never read beyond [`MAX_REPLY_BYTES`], and no error text holds a
//! body, a key or a URL: the platform's addresses carry secrets in their queries.
//!
//! `client` has the calls whose replies are read whole, `stream` those of bills, `error` why there is none.

mod client;
mod error;
mod stream;

pub use client::{Client, Reply};
pub(super) use client::{Query, Wire, api_of, base};
pub use error::{ClientError, MAX_REPLY_BYTES, TransportError};
pub use stream::{ByteStream, StreamLimits};
