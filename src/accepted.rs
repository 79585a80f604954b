//! What was verified of a notification when it was accepted, for its settling in the same process.
//!
//! What must stay true: it never leaves the process. What is read from a disk or the queue is verified again.

use crate::event::command::NotifyReceived;
use crate::event::envelope::Envelope;
use crate::wechat::v2::notify::Notice;

/// A notification whose signature holds.
#[derive(Debug)]
pub struct Accepted {
    pub event: Envelope<NotifyReceived>,
    pub notice: Notice,
}
