//! Fetches a bill into a file: decompressed while it arrives, within bounds, in memory that does not grow with it.
//!
//! The file appears under its name only when the answer was received whole; until then, and after a failure, an earlier
//! one under that name stays. Whether the bill in it is right, its reader says.

use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::gunzip::GunzipError;
use super::receiver::{Fault, Received, Receiver};
use super::refusal::{Refusal, RefusalKind};
use super::request;
use super::request::Ask;
use crate::config::Merchant;
use crate::ids::AppId;
use crate::secret::random_text;
use crate::wechat::setup_fault::SetupFault;
use crate::wechat::transport::{ByteStream, Client, TransportError};
use crate::wechat::v2::request::nonce;

/// What a bill may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadLimits {
    /// As it is sent.
    pub wire_bytes: u64,
    /// Decompressed.
    pub plain_bytes: u64,
}

impl Default for DownloadLimits {
    fn default() -> DownloadLimits {
        DownloadLimits { wire_bytes: 2 << 30, plain_bytes: 16 << 30 }
    }
}

/// A bill in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Uncompressed.
    pub file: PathBuf,
    pub bytes: u64,
    /// Of the uncompressed bytes, in hex: the same bill has the same.
    pub sha256: String,
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// An answer in place of a bill, such as "No Bill Exist".
    #[error("WeChat answered in place of a bill: {0}")]
    Refused(Refusal),
    /// Neither a bill nor an answer of WeChat's, such as a gateway's page.
    #[error("neither a bill nor an answer of WeChat's: {0}")]
    NotABill(String),
    #[error("the bill was not received whole: {0}")]
    Transport(TransportError),
    #[error(transparent)]
    Gunzip(GunzipError),
    #[error("the bill is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    /// WeChat's own digest is of other bytes.
    #[error("the bill does not have the digest that WeChat sent with it")]
    Digest,
    #[error("the bill cannot be stored: {0}")]
    File(String),
}

impl From<Fault> for DownloadError {
    fn from(fault: Fault) -> DownloadError {
        match fault {
            Fault::Refused(refusal) => DownloadError::Refused(refusal),
            Fault::NotABill(said) => DownloadError::NotABill(said),
            Fault::Gunzip(error) => DownloadError::Gunzip(error),
            Fault::TooLarge { limit } => DownloadError::TooLarge { limit },
            Fault::Digest => DownloadError::Digest,
        }
    }
}

impl DownloadError {
    /// Whether the same request may bring the bill later, without an operator's doing.
    pub const fn may_come_later(&self) -> bool {
        match self {
            DownloadError::Refused(refusal) => refusal.kind.may_come_later(),
            DownloadError::NotABill(_)
            | DownloadError::Transport(_)
            | DownloadError::Gunzip(_)
            | DownloadError::Digest => true,
            DownloadError::TooLarge { .. } | DownloadError::File(_) => false,
        }
    }
}

/// Fetches the bill into `folder`, which must exist, under [`Ask::file_name`]. Asking is idempotent. For a fund flow
/// `client` must have the merchant's certificate.
pub async fn download(
    client: &Client,
    merchant: &Merchant,
    appid: &AppId,
    ask: &Ask,
    folder: &Path,
    limits: DownloadLimits,
) -> Result<Downloaded, DownloadError> {
    let body = request::write_request(merchant, appid, ask, nonce());
    let stream = client.post_xml_streamed(ask.path(), body).await.map_err(|error| unsent(ask, error))?;
    let file = folder.join(ask.file_name(merchant));
    let begun = folder.join(format!(".{}.{}.part", ask.file_name(merchant), random_text(8)));
    let received = receive(stream, &begun, limits).await;
    let stored = match received {
        Ok(received) => tokio::fs::rename(&begun, &file).await.map(|()| received).map_err(|error| stored(&error)),
        Err(error) => Err(error),
    };
    match stored {
        Ok(Received { bytes, sha256 }) => Ok(Downloaded { file, bytes, sha256 }),
        Err(error) => {
            // It may never have been created.
            let _ = tokio::fs::remove_file(&begun).await;
            Err(error)
        }
    }
}

/// Without a valid client certificate WeChat's front end answers a bare 400.
fn unsent(ask: &Ask, error: TransportError) -> DownloadError {
    match (ask, &error) {
        (Ask::FundFlow { .. }, TransportError::Status { status: 400 }) => DownloadError::Refused(Refusal {
            kind: RefusalKind::Setup(SetupFault::Certificate),
            code: String::new(),
            words: error.to_string(),
        }),
        _ => DownloadError::Transport(error),
    }
}

async fn receive(mut stream: ByteStream, begun: &Path, limits: DownloadLimits) -> Result<Received, DownloadError> {
    /// Decompressed bytes are written after each such step, so that a small archive of zeros takes little memory.
    const STEP_BYTES: usize = 4096;
    let mut receiver = Receiver::new(limits.plain_bytes, stream.digest().map(str::to_owned));
    let mut file = File::create(begun).await.map_err(|error| stored(&error))?;
    let mut on_the_wire = 0_u64;
    while let Some(chunk) = stream.next().await.map_err(DownloadError::Transport)? {
        on_the_wire = on_the_wire.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if on_the_wire > limits.wire_bytes {
            return Err(DownloadError::TooLarge { limit: limits.wire_bytes });
        }
        for step in chunk.chunks(STEP_BYTES) {
            receiver.feed(step)?;
            write(&mut receiver, &mut file).await?;
        }
    }
    let received = receiver.finish()?;
    file.write_all(&received.0).await.map_err(|error| stored(&error))?;
    file.flush().await.map_err(|error| stored(&error))?;
    file.sync_all().await.map_err(|error| stored(&error))?;
    Ok(received.1)
}

async fn write(receiver: &mut Receiver, file: &mut File) -> Result<(), DownloadError> {
    file.write_all(receiver.plain()).await.map_err(|error| stored(&error))?;
    receiver.written();
    Ok(())
}

fn stored(error: &std::io::Error) -> DownloadError {
    DownloadError::File(error.to_string())
}
