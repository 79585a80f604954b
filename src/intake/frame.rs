//! How a record lies in a file: a mark, its length, a checksum over length and bytes, the bytes.
//!
//! What must stay true: whatever the bytes of a file are, scanning them ends, and finds every record that is whole.

use std::ops::Range;

use flate2::Crc;

/// Begins every record, so that reading can go on behind damage.
const MARK: [u8; 4] = *b"\xf5WXR";
/// The mark, the length and the checksum.
const FRAME: usize = 12;
/// What room for records is filled with: neither a record's begin, nor the zeros that a disk has where it lost some.
pub const ROOM: u8 = 0xee;
/// The largest record: more than any message of the queue.
pub(super) const MAX_RECORD: usize = 4 * 1024 * 1024;

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A whole record: where its frame begins, and its bytes.
    Record { at: usize, bytes: Range<usize> },
    /// Bytes that are no record.
    Damaged(Range<usize>),
}

/// The record of these parts, one behind the other, with its frame; nothing where it is too large.
pub fn frame_of(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(size).ok().filter(|_| size <= MAX_RECORD)?.to_le_bytes();
    let mut frame = Vec::with_capacity(FRAME + size);
    frame.extend_from_slice(&MARK);
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&[0; 4]);
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    let sum = checksum(&[&length, frame.get(FRAME..)?]).to_le_bytes();
    frame.get_mut(FRAME - sum.len()..FRAME)?.copy_from_slice(&sum);
    Some(frame)
}

/// Everything that lies in these bytes, in their order and without gaps.
pub fn scan(bytes: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let (mut at, mut damaged_from) = (0, None);
    while at < bytes.len() {
        match record_at(bytes, at) {
            Some(record) => {
                found.extend(damaged_from.take().map(|from| Found::Damaged(from..at)));
                let end = record.end;
                found.push(Found::Record { at, bytes: record });
                at = end;
            }
            None => {
                damaged_from.get_or_insert(at);
                let rest = bytes.get(at + 1..).unwrap_or_default();
                at = rest.iter().position(|byte| *byte == MARK[0]).map_or(bytes.len(), |next| at + 1 + next);
            }
        }
    }
    found.extend(damaged_from.map(|from| Found::Damaged(from..bytes.len())));
    found
}

/// Where the last record ends, or bytes that are none and no room for more.
pub(super) fn written(bytes: &[u8], found: &[Found]) -> usize {
    match found.last() {
        Some(Found::Record { bytes: record, .. }) => record.end,
        Some(Found::Damaged(range)) => {
            let last = bytes.get(range.clone()).and_then(|bytes| bytes.iter().rposition(|byte| *byte != ROOM));
            last.map_or(range.start, |last| range.start + last + 1)
        }
        None => 0,
    }
}

/// The bytes of the record whose frame begins here.
fn record_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let frame = bytes.get(at..at + FRAME)?;
    let (mark, rest) = frame.split_at(4);
    let (length, sum) = rest.split_at(4);
    if mark != MARK {
        return None;
    }
    let count = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok().filter(|n| *n <= MAX_RECORD)?;
    let range = at + FRAME..at + FRAME + count;
    let expected = u32::from_le_bytes(sum.try_into().ok()?);
    (checksum(&[length, bytes.get(range.clone())?]) == expected).then_some(range)
}

/// CRC-32 (IEEE 802.3): every flipped bit and every burst of up to 32 bits is found.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut sum = Crc::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.sum()
}
