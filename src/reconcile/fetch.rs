//! A day's bills, into files.

use std::fs::File;
use std::path::{Path, PathBuf};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::RunError;
use super::folder::Folder;
use super::timetable::has_missed_noon;
use crate::clock::Timestamp;
use crate::config::{Config, Merchant};
use crate::store::{BillKind, BillNote, BillState, DayRange, Reconciliation, Store};
use crate::wechat::certificate::MerchantCertificate;
use crate::wechat::transport::Client;
use crate::wechat::v2::bill::{
    Ask, BillDay, DownloadError, DownloadLimits, Downloaded, FundAccount, RefusalKind, TradeBillType, download,
};

/// Bills that are fetched for callers at once by this process, until they are sent: each takes room on the disk, and
/// WeChat counts the questions of all of them.
static CALLERS: Semaphore = Semaphore::const_new(4);

/// A bill for a caller. Others have its place when it is dropped.
pub struct FetchedBill {
    /// The name that the file would have.
    pub name: String,
    /// It has no name any more and goes when it is closed.
    pub file: File,
    /// Kept until the file is sent.
    pub place: SemaphorePermit<'static>,
}

/// A bill of any kind as WeChat gives it now; none while as many callers as may have theirs fetched or sent.
pub async fn fetch_bill(
    config: &Config,
    wechat: &Client,
    merchant: &Merchant,
    ask: &Ask,
) -> Result<Option<FetchedBill>, RunError> {
    let Ok(place) = CALLERS.try_acquire() else { return Ok(None) };
    let sorting = config.reconcile.sorting_dir(&config.store);
    let folder = Folder::create(&sorting).map_err(|e| RunError::of_folder(&sorting, &e))?;
    let app = config.app_ids(merchant).into_iter().next();
    let app = app.ok_or_else(|| RunError::NoApp(merchant.key.to_string()))?;
    let client = match ask {
        Ask::Trades { .. } => wechat.clone(),
        Ask::FundFlow { .. } => certified(config, wechat, merchant).map_err(RunError::Certificate)?,
    };
    let fetched = download(&client, merchant, &app, ask, folder.path(), DownloadLimits::default()).await?;
    Ok(Some(FetchedBill { name: ask.file_name(merchant), file: File::open(&fetched.file)?, place }))
}

/// The way to WeChat with the merchant's certificate, which bills of accounts need.
fn certified(config: &Config, wechat: &Client, merchant: &Merchant) -> Result<Client, String> {
    let certificate = merchant.client_cert_file.as_deref();
    let certificate = certificate.ok_or("client_cert_file is not configured for the merchant")?;
    let (key, mch_id) = (merchant.client_key_file.as_deref(), &merchant.mch_id);
    let certificate = MerchantCertificate::read(certificate, key, mch_id).map_err(|e| e.to_string())?;
    let client = Client::with_certificate(&config.wechat, &certificate).map_err(|e| e.to_string())?;
    Ok(client.sharing_hosts_with(wechat))
}

/// Whose bills, of which day, and where their files go.
pub(super) struct Fetch<'a> {
    pub config: &'a Config,
    pub store: &'a Store,
    pub wechat: &'a Client,
    pub merchant: &'a Merchant,
    pub day: BillDay,
    pub folder: &'a Path,
    pub now: Timestamp,
}

/// A day's bills.
pub(super) struct Bills {
    /// None where the day is empty.
    pub trades: Option<PathBuf>,
    pub hash: Option<String>,
    pub funds: Funds,
    /// The result before, where it knows what was booked for the same bill and the account's bill is not there again.
    pub before: Option<Reconciliation>,
}

impl Bills {
    /// Why it is not known what was booked.
    pub fn funds_error(&self) -> Option<&str> {
        match &self.funds {
            Funds::Missing { error, .. } if self.before.is_none() => Some(error.as_str()),
            Funds::Missing { .. } | Funds::File(_) | Funds::None => None,
        }
    }

    /// Also where a result before knows what was booked: what our books learnt since was not compared with the account.
    pub fn is_funds_late(&self) -> bool {
        matches!(self.funds, Funds::Missing { is_late: true, .. })
    }
}

/// The bill of the basic account.
pub(super) enum Funds {
    File(PathBuf),
    /// It is not wanted.
    None,
    /// Why it is not there, and whether it may be there later.
    Missing {
        error: String,
        is_late: bool,
    },
}

/// The trade bill of a day.
pub(super) enum Trades {
    File(Downloaded),
    /// WeChat has none, and our books have nothing of the day.
    Empty,
}

impl Fetch<'_> {
    /// The trade bill of payments and refunds.
    pub async fn trades(&self) -> Result<Trades, RunError> {
        let ask = Ask::trades(self.day, TradeBillType::All);
        let fetched = self.download(self.wechat, &ask).await;
        match &fetched {
            Ok(file) => self.note(BillKind::Trades, BillState::Held, Some(file), None).await?,
            Err(RunError::Download(DownloadError::Refused(refusal))) if refusal.kind == RefusalKind::NoBill => {
                return self.none().await;
            }
            Err(e) => {
                let waits = matches!(e, RunError::Download(e) if e.may_come_later());
                let state = if waits { BillState::Waiting } else { BillState::Failed };
                self.note(BillKind::Trades, state, None, Some(e.to_string())).await?;
            }
        }
        fetched.map(Trades::File)
    }

    /// "No Bill Exist" is also what WeChat says of a bill that is not made yet.
    async fn none(&self) -> Result<Trades, RunError> {
        let range =
            DayRange { merchant: self.merchant.key.clone(), from: self.day.begins_at(), to: self.day.ends_at() };
        let is_empty = self.store.day_payments(&range, None, 1).await?.0.is_empty()
            && self.store.day_refunds(&range, None, 1).await?.0.is_empty();
        if is_empty && has_missed_noon(self.day, self.now) {
            self.note(BillKind::Trades, BillState::Empty, None, None).await?;
            return Ok(Trades::Empty);
        }
        let error = if is_empty {
            RunError::NotYet { day: self.day.to_string() }
        } else {
            RunError::NoBill { day: self.day.to_string() }
        };
        self.note(BillKind::Trades, BillState::Waiting, None, Some(error.to_string())).await?;
        Err(error)
    }

    /// The bill of the basic account.
    pub async fn funds(&self) -> Funds {
        if self.merchant.client_cert_file.is_none() || !self.config.reconcile.fund_flow {
            return Funds::None;
        }
        let client = match certified(self.config, self.wechat, self.merchant) {
            Ok(client) => client,
            Err(error) => return Funds::Missing { error, is_late: false },
        };
        let ask = Ask::fund_flow(self.day, FundAccount::Basic);
        let fetched = self.download(&client, &ask).await;
        let error = fetched.as_ref().err().map(ToString::to_string);
        let state = if error.is_some() { BillState::Waiting } else { BillState::Held };
        if let Err(e) = self.note(BillKind::Funds, state, fetched.as_ref().ok(), error).await {
            return Funds::Missing { error: e.to_string(), is_late: true };
        }
        match fetched {
            Ok(file) => Funds::File(file.file),
            Err(e) => Funds::Missing { error: e.to_string(), is_late: self.is_late(&e) },
        }
    }

    /// Whether the bill of the account may come later. Where nothing was booked there is none.
    fn is_late(&self, e: &RunError) -> bool {
        match e {
            RunError::Download(DownloadError::Refused(refusal)) if refusal.kind == RefusalKind::NoBill => {
                !has_missed_noon(self.day, self.now)
            }
            RunError::Download(e) => e.may_come_later(),
            _ => false,
        }
    }

    async fn download(&self, client: &Client, ask: &Ask) -> Result<Downloaded, RunError> {
        let app = self.config.app_ids(self.merchant).into_iter().next();
        let app = app.ok_or_else(|| RunError::NoApp(self.merchant.key.to_string()))?;
        Ok(download(client, self.merchant, &app, ask, self.folder, DownloadLimits::default()).await?)
    }

    async fn note(
        &self,
        kind: BillKind,
        state: BillState,
        file: Option<&Downloaded>,
        error: Option<String>,
    ) -> Result<(), RunError> {
        let note = BillNote {
            merchant: self.merchant.key.clone(),
            kind,
            day: self.day.to_string(),
            state,
            content: file.map(|file| (file.sha256.clone(), file.bytes)),
            error,
            at: self.now,
        };
        Ok(self.store.note_bill(&note).await?)
    }
}
