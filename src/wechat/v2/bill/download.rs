//! Fetches a bill into a file: decompressed while it arrives, within bounds, in memory that does not grow with it.
//!
//! The file appears under its name only when the bill was received and read whole; until then, and after a failure, an
//! earlier one under that name stays. It is readable by the service's user alone: it has openids and turnover.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::error::BillError;
use super::fund_flow::FundFlows;
use super::gunzip::GunzipError;
use super::parser::{Layout, Limits, Parser};
use super::receiver::{Fault, Received, Receiver};
use super::refusal::{Refusal, RefusalKind};
use super::request;
use super::request::{Ask, Expected};
use super::trade::Trades;
use crate::config::Merchant;
use crate::ids::AppId;
use crate::secret::random_text;
use crate::wechat::setup_fault::SetupFault;
use crate::wechat::transport::{ByteStream, Client, StreamLimits, TransportError};
use crate::wechat::v2::request::nonce;

/// What a bill may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadLimits {
    /// As it is sent.
    pub wire_bytes: u64,
    /// Decompressed.
    pub plain_bytes: u64,
    pub pace: StreamLimits,
}

impl Default for DownloadLimits {
    fn default() -> DownloadLimits {
        DownloadLimits { wire_bytes: 2 << 30, plain_bytes: 16 << 30, pace: StreamLimits::default() }
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
    /// It was received whole, and its reader refuses it.
    #[error("the bill is not usable: {0}")]
    Unusable(BillError),
    #[error("no room for the bill: {0}")]
    DiskFull(String),
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
            | DownloadError::Gunzip(GunzipError::CutShort | GunzipError::Damaged(_))
            | DownloadError::Unusable(BillError::CutShort { .. })
            | DownloadError::DiskFull(_)
            | DownloadError::Digest => true,
            DownloadError::Gunzip(GunzipError::TooLarge { .. })
            | DownloadError::Unusable(_)
            | DownloadError::TooLarge { .. }
            | DownloadError::File(_) => false,
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
    sweep(folder).await;
    let stream = client.post_xml_streamed(ask.path(), body, limits.pace).await.map_err(|error| unsent(ask, error))?;
    let file = folder.join(ask.file_name(merchant));
    let begun = folder.join(format!(".{}.{}.part", ask.file_name(merchant), random_text(8)));
    let part = Part(begun.clone());
    let expected = Expected::new(merchant, *ask);
    let Received { bytes, sha256 } = match ask {
        Ask::Trades { .. } => receive::<Trades>(stream, &begun, limits, expected).await?,
        Ask::FundFlow { .. } => receive::<FundFlows>(stream, &begun, limits, expected).await?,
    };
    tokio::fs::rename(&begun, &file).await.map_err(|error| stored(&error))?;
    drop(part);
    // Without this the new name may be lost with the power.
    let folder = File::open(folder).await.map_err(|error| stored(&error))?;
    folder.sync_all().await.map_err(|error| stored(&error))?;
    Ok(Downloaded { file, bytes, sha256 })
}

/// A file that is removed with this, however the download ends. Nothing has its name once it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes what downloads left whose process ended.
async fn sweep(folder: &Path) {
    /// Longer than a download can last.
    const ABANDONED: Duration = Duration::from_secs(2 * 3600);
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let name = entry.file_name();
        let is_part = name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(".part"));
        if !is_part {
            continue;
        }
        let modified = entry.metadata().await.and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED)) {
            // Another process may sweep, too.
            let _ = tokio::fs::remove_file(entry.path()).await;
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

/// The bill is read while it arrives: what it cannot hold ends the download.
async fn receive<L: Layout>(
    mut stream: ByteStream,
    begun: &Path,
    limits: DownloadLimits,
    expected: Expected,
) -> Result<Received, DownloadError> {
    /// Decompressed bytes are written after each such step, so that a small archive of zeros takes little memory.
    const STEP_BYTES: usize = 4096;
    let mut receiver = Receiver::new(limits.plain_bytes, stream.digest().map(str::to_owned));
    let mut parser: Parser<L> = Parser::new(Limits::default()).expecting(expected);
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(begun).await.map_err(|error| stored(&error))?;
    let mut on_the_wire = 0_u64;
    while let Some(chunk) = stream.next().await.map_err(DownloadError::Transport)? {
        on_the_wire = on_the_wire.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if on_the_wire > limits.wire_bytes {
            return Err(DownloadError::TooLarge { limit: limits.wire_bytes });
        }
        for step in chunk.chunks(STEP_BYTES) {
            receiver.feed(step)?;
            parser.feed(receiver.plain(), |_| {}).map_err(DownloadError::Unusable)?;
            file.write_all(receiver.plain()).await.map_err(|error| stored(&error))?;
            receiver.written();
        }
    }
    let (rest, received) = receiver.finish()?;
    parser.feed(&rest, |_| {}).and_then(|()| parser.finish(|_| {}).map(drop)).map_err(DownloadError::Unusable)?;
    file.write_all(&rest).await.map_err(|error| stored(&error))?;
    file.flush().await.map_err(|error| stored(&error))?;
    file.sync_all().await.map_err(|error| stored(&error))?;
    Ok(received)
}

fn stored(error: &std::io::Error) -> DownloadError {
    match error.kind() {
        // The largest file that is allowed is the end of the room, too.
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            DownloadError::DiskFull(error.to_string())
        }
        _ => DownloadError::File(error.to_string()),
    }
}
