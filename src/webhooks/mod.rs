//! Webhooks by the Standard Webhooks specification: events posted to the merchants' own addresses.
//!
//! The dispatcher (`dispatcher`, in the role relay) makes deliveries of the feed and sends them; `attempt` makes one
//! attempt and writes what it changes; `sender` signs and posts; `schedule` says when it is tried again; `address` and
//! `lookup` say where a connection may go; `together` sends one message about several deliveries; `wecom` is what group
//! robots of WeCom are sent, `mail` what people are mailed, `text` an event in words.
//!
//! What must stay true: the address that was checked is the one that is connected to; what an endpoint wants is
//! delivered at least once, under one id; of one order, an event is not sent while an earlier one is pending; an
//! endpoint that is slow delays no other; no URL, secret or answer of a receiver is in a log.

pub mod address;
mod answer;
mod attempt;
mod dispatcher;
mod lookup;
mod mail;
mod schedule;
mod sender;
mod signing;
mod text;
mod together;
mod wecom;

pub use answer::{Answer, Outcome};
pub use attempt::{AttemptError, Claimed, Maker};
pub use dispatcher::run;
pub use lookup::{Addresses, Lookup};
pub use mail::parse as parse_mailto;
pub use schedule::{Next, OLD_SECRET_LIFE, WINDOW, next, pause_between};
pub use sender::{KeyError, Message, Sender, SenderError};
pub use signing::{SigningSecret, signatures};
pub use wecom::{Robot, body as robot_body};
