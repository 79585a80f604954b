//! What a day's bill says of the fee of each row, found by the row's key: for sheets. Matched rows are not stored.
//!
//! What must stay true: memory is one sorter's buffer and a key for every hundred rows; no file outlives its process.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use super::bill_rows::{bill_item, read};
use super::codec::{read_bill, write_bill};
use super::error::RunError;
use super::folder::Folder;
use super::sorter::{Sorter, read_row, write_row};
use crate::config::{Config, Merchant};
use crate::reconciliation::{BillSide, Ids};
use crate::wechat::transport::Client;
use crate::wechat::v2::bill::{Ask, BillDay, DownloadLimits, Expected, TradeBillType, Trades, download};

/// Bills that are read at once by this process; other sheets wait.
static READERS: Semaphore = Semaphore::const_new(1);
/// When a file was changed, and its inode: another bill has another one.
type Version = [i64; 3];

/// Kept bills that were read, the newest first, each as its file was then.
static OPEN: Mutex<VecDeque<(PathBuf, Version, Arc<BillFees>)>> = Mutex::const_new(VecDeque::new());
/// At most so many: each has a file, and a key in memory for each hundred rows.
const MAX_OPEN: usize = 8;
/// Rows of which the first one's key is in memory.
const BLOCK: usize = 100;

/// The rows of a trade bill in a file, in the order of their keys.
#[derive(Debug)]
pub struct BillFees {
    file: File,
    /// The first key of each block, and where it begins.
    blocks: Vec<(Vec<u8>, u64)>,
    bytes: u64,
}

impl BillFees {
    /// Reads the bill of a day: the one that is kept, or WeChat's.
    pub async fn of_day(
        config: &Config,
        wechat: &Client,
        merchant: &Merchant,
        day: &str,
    ) -> Result<BillFees, RunError> {
        let ask = trades_of(day)?;
        let _permit = READERS.acquire().await.map_err(|_| RunError::Ended)?;
        let folder = folder(config)?;
        let kept = config.reconcile.bills_dir(&config.store).join(ask.file_name(merchant));
        let bill = if kept.is_file() { kept } else { fetched(config, wechat, merchant, &ask, &folder).await? };
        sorted(config, merchant, (bill, ask), folder).await
    }

    /// Those of a bill that is kept, which stay open for the next page; none where it is not kept here.
    pub async fn of_kept(config: &Config, merchant: &Merchant, day: &str) -> Result<Option<Arc<BillFees>>, RunError> {
        let ask = trades_of(day)?;
        if config.reconcile.keep.is_zero() {
            return Ok(None);
        }
        let bill = config.reconcile.bills_dir(&config.store).join(ask.file_name(merchant));
        let version = match bill.metadata() {
            Ok(data) => [data.mtime(), data.mtime_nsec(), data.ino().cast_signed()],
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if let Some(fees) = opened(&bill, version).await {
            return Ok(Some(fees));
        }
        let _permit = READERS.acquire().await.map_err(|_| RunError::Ended)?;
        // Another request may have read it meanwhile.
        if let Some(fees) = opened(&bill, version).await {
            return Ok(Some(fees));
        }
        let fees = Arc::new(sorted(config, merchant, (bill.clone(), ask), folder(config)?).await?);
        let mut open = OPEN.lock().await;
        open.retain(|(path, _, _)| *path != bill);
        open.truncate(MAX_OPEN - 1);
        open.push_front((bill, version, Arc::clone(&fees)));
        Ok(Some(fees))
    }

    /// What the bill says of a row; none where it does not have it. Blocks.
    pub fn find(&self, ids: &Ids) -> io::Result<Option<BillSide>> {
        let key = ids.sort_key();
        let behind = self.blocks.partition_point(|(first, _)| *first <= key);
        let Some((_, from)) = behind.checked_sub(1).and_then(|at| self.blocks.get(at)) else { return Ok(None) };
        let to = self.blocks.get(behind).map_or(self.bytes, |(_, at)| *at);
        let mut block = vec![0; usize::try_from(to.saturating_sub(*from)).unwrap_or_default()];
        self.file.read_exact_at(&mut block, *from)?;
        let mut rows = block.as_slice();
        while let Some((at, row)) = read_row(&mut rows)? {
            if at == key {
                return Ok(Some(read_bill(&row)?.side));
            }
        }
        Ok(None)
    }
}

/// A kept bill that was read as it is now; it is the last to be given up for another one.
async fn opened(bill: &Path, version: Version) -> Option<Arc<BillFees>> {
    let mut open = OPEN.lock().await;
    let at = open.iter().position(|(path, at, _)| path == bill && *at == version)?;
    let found = open.remove(at)?;
    let fees = Arc::clone(&found.2);
    open.push_front(found);
    Some(fees)
}

fn trades_of(day: &str) -> Result<Ask, RunError> {
    let day = BillDay::parse(day).map_err(|_| RunError::Day(day.to_owned()))?;
    Ok(Ask::trades(day, TradeBillType::All))
}

fn folder(config: &Config) -> Result<Arc<Folder>, RunError> {
    let sorting = config.reconcile.sorting_dir(&config.store);
    Folder::create(&sorting).map(Arc::new).map_err(|e| RunError::of_folder(&sorting, &e))
}

async fn sorted(
    config: &Config,
    merchant: &Merchant,
    (bill, ask): (PathBuf, Ask),
    folder: Arc<Folder>,
) -> Result<BillFees, RunError> {
    let (expected, buffer) = (Expected::new(merchant, ask), config.reconcile.buffer_bytes);
    let written = tokio::task::spawn_blocking(move || written(bill, expected, folder, buffer));
    written.await.map_err(|_| RunError::Ended)?
}

async fn fetched(
    config: &Config,
    wechat: &Client,
    merchant: &Merchant,
    ask: &Ask,
    folder: &Folder,
) -> Result<PathBuf, RunError> {
    let app = config.app_ids(merchant).into_iter().next();
    let app = app.ok_or_else(|| RunError::NoApp(merchant.key.to_string()))?;
    Ok(download(wechat, merchant, &app, ask, folder.path(), DownloadLimits::default()).await?.file)
}

fn written(bill: PathBuf, expected: Expected, folder: Arc<Folder>, buffer: usize) -> Result<BillFees, RunError> {
    let mut sorter = Sorter::new(Arc::clone(&folder), buffer);
    let mut failed: Option<io::Error> = None;
    read::<Trades>(&bill, expected, |line| {
        if failed.is_none() {
            let item = bill_item(&line);
            failed = sorter.push(&item.ids.sort_key(), &write_bill(&item)).err();
        }
    })?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    let (mut rows, (path, file)) = (sorter.finish()?, folder.file()?);
    let (mut out, mut blocks, mut bytes, mut n) = (BufWriter::new(file), Vec::new(), 0_u64, 0_usize);
    while let Some((key, row)) = rows.read()? {
        let length = write_row(&mut out, &key, &row)?;
        // A key that the bill repeats is found in the block in which it begins.
        if n % BLOCK == 0 {
            blocks.push((key, bytes));
        }
        n += 1;
        bytes = bytes.saturating_add(length);
    }
    out.flush()?;
    // The folder goes; the file is read for as long as it is open.
    Ok(BillFees { file: File::open(path)?, blocks, bytes })
}
