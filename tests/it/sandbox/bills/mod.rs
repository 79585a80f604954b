//! The simulator's bills, fetched and read by the service's own client.

mod differences;
mod forms;
mod ledger;
mod rules;

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::{Merchant, Wechat};
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::wechat::certificate::MerchantCertificate;
use wxpay_worker::wechat::transport::Client;
use wxpay_worker::wechat::v2::bill::{
    Ask, BillDay, BillError, DownloadError, DownloadLimits, FundAccount, FundEntry, FundFlowBill, FundTotals, Limits,
    TradeBill, TradeBillType, TradeLine, TradeTotals, download,
};

use super::parts::{APPID, MCH_ID, Shop, key, order, with};
use crate::wechat::{merchant_of, wechat};

/// The day on which a shop opens.
pub fn today() -> BillDay {
    BillDay::parse("2025-01-02").unwrap()
}

/// A simulator, and a merchant's client of it with its certificate and a folder for bills.
pub struct Stage {
    pub shop: Shop,
    pub folder: TempDir,
    merchant: Merchant,
}

impl Stage {
    pub async fn open() -> Stage {
        let (shop, folder) = (Shop::open().await, TempDir::new().unwrap());
        let files = shop.files(MCH_ID).await;
        for name in ["apiclient_cert.pem", "apiclient_key.pem", "ca.pem"] {
            std::fs::write(folder.path().join(name), files[name].as_str().unwrap()).unwrap();
        }
        std::fs::create_dir(folder.path().join("bills")).unwrap();
        Stage { shop, folder, merchant: merchant_of(MCH_ID, &key()) }
    }

    pub fn bills(&self) -> std::path::PathBuf {
        self.folder.path().join("bills")
    }

    pub fn client(&self) -> Client {
        let config = Wechat {
            refund_url: Some(self.shop.sandbox.refund_base_url()),
            pay_ca_file: Some(self.folder.path().join("ca.pem")),
            ..wechat(&self.shop.base, &self.shop.base)
        };
        let file = |name: &str| self.folder.path().join(name);
        let mch_id = MchId::parse(MCH_ID).unwrap();
        let (cert, key) = (file("apiclient_cert.pem"), file("apiclient_key.pem"));
        let certificate = MerchantCertificate::read(&cert, Some(&key), &mch_id).unwrap();
        Client::with_certificate(&config, &certificate).unwrap()
    }

    pub async fn fetch(&self, ask: Ask) -> Result<std::path::PathBuf, DownloadError> {
        let appid = AppId::parse(APPID).unwrap();
        let limits = DownloadLimits::default();
        download(&self.client(), &self.merchant, &appid, &ask, &self.bills(), limits).await.map(|bill| bill.file)
    }

    /// The bill must be there.
    pub async fn trades(&self, bill_type: TradeBillType) -> (Vec<TradeLine>, TradeTotals) {
        read(&self.fetch(Ask::trades(today(), bill_type)).await.unwrap()).await.unwrap()
    }

    pub async fn funds(&self) -> (Vec<FundEntry>, FundTotals) {
        let file = self.fetch(Ask::fund_flow(today(), FundAccount::Basic)).await.unwrap();
        let mut reader = FundFlowBill::new(tokio::fs::File::open(file).await.unwrap(), Limits::default());
        let mut entries = Vec::new();
        while let Some(row) = reader.next().await.unwrap() {
            entries.push(row.line);
        }
        (entries, *reader.totals().unwrap())
    }

    /// Moves the clock to this hour of the day after the shop opened, in Beijing.
    pub fn next_morning(&self, hour: u64) {
        let at = today().ends_at().after(Duration::from_secs(hour * 3600));
        self.shop.clock.advance(at.since(self.shop.clock.now()));
    }

    /// A paid order of so many fen.
    pub async fn paid(&self, out_trade_no: &str, fen: &str) {
        self.shop.paid_order(with(order(out_trade_no), &[("total_fee", fen)])).await;
    }

    pub async fn plant(&self, differences: serde_json::Value) {
        let body = json!({"mch_id": MCH_ID, "differences": differences});
        let (status, answer) = self.shop.control("bills/differences", body).await;
        assert_eq!(status, 200, "{answer}");
    }
}

pub async fn read(file: &Path) -> Result<(Vec<TradeLine>, TradeTotals), BillError> {
    let mut reader = TradeBill::new(tokio::fs::File::open(file).await.unwrap(), Limits::default());
    let mut lines = Vec::new();
    while let Some(row) = reader.next().await? {
        lines.push(row.line);
    }
    Ok((lines, *reader.totals().unwrap()))
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}
