//! A merchant with its certificate, and paid orders to refund.

use reqwest::{Certificate, Identity};
use serde_json::Value;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::verify;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use crate::sandbox::parts::{MCH_ID, Shop, about, key, order, sealed, with};

/// Calls `/secapi/…` with a merchant's certificate.
pub struct Cashier {
    http: reqwest::Client,
    url: String,
}

/// A client that trusts the simulator and shows what it is given.
pub fn https(files: &Value, identity: Option<Identity>) -> reqwest::Client {
    let ca = Certificate::from_pem(files["ca.pem"].as_str().unwrap().as_bytes()).unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
    match identity {
        Some(identity) => http.identity(identity),
        None => http,
    }
    .build()
    .unwrap()
}

pub fn identity(files: &Value) -> Identity {
    let [cert, key] = ["apiclient_cert.pem", "apiclient_key.pem"].map(|name| files[name].as_str().unwrap());
    Identity::from_pem(format!("{cert}{key}").as_bytes()).unwrap()
}

impl<S> Shop<S> {
    /// What the merchant platform gives.
    pub async fn files(&self, mch_id: &str) -> Value {
        self.get(&format!("certificates/{mch_id}")).await
    }

    pub async fn cashier(&self) -> Cashier {
        let files = self.files(MCH_ID).await;
        let base = files["refund_base_url"].as_str().unwrap();
        Cashier { http: https(&files, Some(identity(&files))), url: format!("{base}/secapi/pay/refund") }
    }

    /// Places and pays an order of 88 fen; WeChat's number of the payment.
    pub async fn paid(&self, out_trade_no: &str) -> String {
        self.paid_order(order(out_trade_no)).await
    }

    pub async fn paid_order(&self, order: Fields) -> String {
        let prepay_id = self.prepay(order).await;
        self.pay(&prepay_id).await["transaction_id"].as_str().unwrap().to_owned()
    }

    pub async fn refunds(&self) -> Vec<Value> {
        self.ledger().await["refunds"].as_array().unwrap().clone()
    }

    pub async fn ask_refund(&self, fields: Fields) -> Fields {
        self.call("refundquery", fields, SignType::Md5).await
    }

    /// The refund with this number comes to this end.
    pub async fn ends(&self, out_refund_no: &str, outcome: &str) -> (u16, Value) {
        let body = serde_json::json!({"mch_id": MCH_ID, "out_refund_no": out_refund_no, "outcome": outcome});
        self.control("refunds/outcome", body).await
    }
}

impl Cashier {
    pub async fn post(&self, body: Vec<u8>) -> reqwest::Result<reqwest::Response> {
        self.http.post(&self.url).body(body).send().await
    }

    /// Signs, sends, and the answer must be signed.
    pub async fn refund(&self, fields: Fields) -> Fields {
        let answer = self.post(xml::write(&sealed(fields, SignType::HmacSha256)).into_bytes()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer = xml::parse(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(verify(&answer, &key()), Ok(SignType::HmacSha256), "{answer:?}");
        answer
    }

    /// The refund must be taken on.
    pub async fn take(&self, fields: Fields) -> Fields {
        let answer = self.refund(fields).await;
        assert_eq!(answer["result_code"], "SUCCESS", "{answer:?}");
        answer
    }

    /// The refund must be refused; the code.
    pub async fn refused(&self, fields: Fields) -> String {
        let answer = self.refund(fields).await;
        assert_eq!(answer["result_code"], "FAIL", "{answer:?}");
        assert!(!answer["err_code_des"].is_empty() && !answer.contains_key("refund_id"));
        answer["err_code"].clone()
    }
}

/// Of an order of 88 fen.
pub fn refund(out_trade_no: &str, out_refund_no: &str, refund_fee: &str) -> Fields {
    with(about(out_trade_no), &[("out_refund_no", out_refund_no), ("total_fee", "88"), ("refund_fee", refund_fee)])
}
