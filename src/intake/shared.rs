//! What the appenders, the thread and the reader of a log share.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::record::Record;

/// Why a record was not taken. It may be appended again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// As much as may wait is not settled yet.
    #[error("the intake log is full")]
    Full,
    /// The record is larger than any message may be.
    #[error("the record is too large")]
    TooLarge,
    /// The disk did not take it.
    #[error("the intake log could not be written")]
    Failed,
    /// The process ends.
    #[error("the intake log is closed")]
    Closed,
}

/// What waits in a log to be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogState {
    pub unsettled_bytes: u64,
    /// Those on the disk.
    pub unsettled_records: u64,
    /// As much may wait.
    pub max_bytes: u64,
    /// Since when the oldest record waits.
    pub oldest: Option<Duration>,
    /// Whether the disk did not take what was last to be written. It is tried again every two seconds.
    pub is_failing: bool,
}

/// What appenders, the thread and the reader share.
#[derive(Debug)]
pub(super) struct Shared {
    waiting: Mutex<Waiting>,
    woken: Condvar,
    /// Bytes that were taken and are not settled.
    unsettled: AtomicU64,
    /// The position up to which everything is settled.
    settled: AtomicU64,
    /// When each record that is not settled became durable, with the position behind it.
    written: Mutex<VecDeque<(u64, Instant)>>,
    max_bytes: u64,
    failing: AtomicBool,
    /// Held while anything can be appended: no other process may read or remove the files then.
    _lock: File,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    is_closed: bool,
    /// The thread died.
    is_broken: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub record: Record,
    pub frame: Vec<u8>,
    pub done: oneshot::Sender<Result<(), AppendError>>,
}

impl Shared {
    pub fn new(max_bytes: u64, lock: File) -> Shared {
        Shared {
            waiting: Mutex::default(),
            woken: Condvar::new(),
            unsettled: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            written: Mutex::default(),
            max_bytes,
            failing: AtomicBool::new(false),
            _lock: lock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn close(&self) {
        self.lock().is_closed = true;
        self.woken.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Nothing is written any more: what waits is refused.
    pub fn break_off(&self) {
        let mut waiting = self.lock();
        waiting.is_broken = true;
        waiting.entries.clear();
    }

    /// Takes room for a record; false where there is none.
    pub fn reserve(&self, size: u64) -> bool {
        let fits = |unsettled: u64| Some(unsettled + size).filter(|sum| *sum <= self.max_bytes);
        self.unsettled.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }

    /// Has a record written; false where the log is closed.
    pub fn push(&self, entry: Entry) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed || waiting.is_broken {
            return false;
        }
        waiting.entries.push(entry);
        drop(waiting);
        self.woken.notify_one();
        true
    }

    /// Waits for records; none once the log is closed and all were taken. No longer than `at_most` while the last write
    /// failed: the records are none then.
    pub fn next(&self, at_most: Duration) -> Option<Vec<Entry>> {
        let mut waiting = self.lock();
        while waiting.entries.is_empty() && !waiting.is_closed {
            if !self.is_failing() {
                waiting = self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (now, time) = self.woken.wait_timeout(waiting, at_most).unwrap_or_else(PoisonError::into_inner);
            waiting = now;
            if time.timed_out() && !waiting.is_closed {
                return Some(std::mem::take(&mut waiting.entries));
            }
        }
        let entries = std::mem::take(&mut waiting.entries);
        (!entries.is_empty()).then_some(entries)
    }

    /// Whether the disk did not take what was last to be written.
    pub fn set_failing(&self, is_failing: bool) {
        self.failing.store(is_failing, Ordering::Release);
    }

    fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Bytes that were taken and are not settled.
    pub fn unsettled(&self) -> u64 {
        self.unsettled.load(Ordering::Acquire)
    }

    /// The position up to which everything is settled.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    pub fn free(&self, size: u64) {
        self.unsettled.fetch_sub(size, Ordering::AcqRel);
    }

    /// Records that end at these positions are on the disk, with all before them.
    pub fn written_up_to(&self, positions: impl Iterator<Item = u64>) {
        let now = Instant::now();
        self.times().extend(positions.map(|position| (position, now)));
    }

    /// Everything up to this position is settled.
    pub fn settle_up_to(&self, position: u64) {
        let before = self.settled.fetch_max(position, Ordering::AcqRel);
        self.free(position.saturating_sub(before));
        let mut times = self.times();
        while times.front().is_some_and(|(to, _)| *to <= position) {
            times.pop_front();
        }
    }

    pub fn state(&self) -> LogState {
        let (records, oldest) = {
            let times = self.times();
            (times.len() as u64, times.front().map(|(_, at)| at.elapsed()))
        };
        LogState {
            unsettled_bytes: self.unsettled(),
            unsettled_records: records,
            max_bytes: self.max_bytes,
            oldest,
            is_failing: self.is_failing(),
        }
    }

    fn times(&self) -> MutexGuard<'_, VecDeque<(u64, Instant)>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
