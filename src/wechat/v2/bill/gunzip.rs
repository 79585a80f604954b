//! Decompression while the bytes arrive, within bounds: a small archive can hold gigabytes of zeros.

use std::io::Write;

use flate2::write::MultiGzDecoder;

/// Why an archive is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GunzipError {
    #[error("the gzip data is cut short")]
    CutShort,
    #[error("the gzip data is damaged: {0}")]
    Damaged(String),
    #[error("the gzip data holds more than {limit} bytes")]
    TooLarge { limit: u64 },
}

/// The first bytes of an archive.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Compressed bytes taken at once. They hold about a thousand times as many at most.
const STEP_BYTES: usize = 1024;

/// A decompressor that is fed with bytes.
pub struct Gunzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    given: u64,
    limit: u64,
}

impl Gunzip {
    /// Gives `limit` bytes at most.
    pub fn new(limit: u64) -> Gunzip {
        Gunzip { decoder: MultiGzDecoder::new(Vec::new()), given: 0, limit }
    }

    /// Reads the next bytes and gives what they hold to `sink`, a megabyte at once at most.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), GunzipError> {
        for step in bytes.chunks(STEP_BYTES) {
            self.decoder.write_all(step).map_err(|error| GunzipError::Damaged(error.to_string()))?;
            self.give(&mut sink)?;
        }
        Ok(())
    }

    /// The archive must be complete here.
    pub fn finish(mut self, mut sink: impl FnMut(&[u8])) -> Result<(), GunzipError> {
        self.decoder.try_finish().map_err(|_| GunzipError::CutShort)?;
        self.give(&mut sink)
    }

    fn give(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<(), GunzipError> {
        let plain = self.decoder.get_mut();
        self.given = self.given.saturating_add(u64::try_from(plain.len()).unwrap_or(u64::MAX));
        if self.given > self.limit {
            return Err(GunzipError::TooLarge { limit: self.limit });
        }
        sink(plain);
        plain.clear();
        Ok(())
    }
}
