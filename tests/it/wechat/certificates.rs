//! The merchant's certificate: from files to an identity, and a real handshake with it.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::Wechat;
use wxpay_worker::ids::{AppId, MchId, OutTradeNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::certificate::{CertificateError, MerchantCertificate, Validity};
use wxpay_worker::wechat::transport::{Client, ClientError};
use wxpay_worker::wechat::v2::refund;
use wxpay_worker::wechat::v2::refund::{OutRefundNo, RefundOrder, Refunding};

use super::wechat;
use crate::sandbox::parts::{APPID, MCH_ID, OTHER_MCH_ID, Shop, key};

/// Self-signed for 1900000109 and made for these tests alone; the RSA pair is also in the two `.p12` files, whose
/// password is that number: one as OpenSSL 1 wrote them (40-bit RC2 and 3DES), one as OpenSSL 3 does (AES-256).
const CERTIFICATE: &[u8] = include_bytes!("pem/client.crt");
const KEY: &[u8] = include_bytes!("pem/client.key");
const OTHER_KEY: &[u8] = include_bytes!("pem/other.key");
const RSA_CERTIFICATE: &[u8] = include_bytes!("pem/rsa.crt");
const RSA_KEY: &[u8] = include_bytes!("pem/rsa.key");
const ENCRYPTED_KEY: &[u8] = include_bytes!("pem/encrypted.key");
const LEGACY_P12: &str = include_str!("pem/legacy.p12.base64");
const MODERN_P12: &str = include_str!("pem/modern.p12.base64");

fn mch_id(text: &str) -> MchId {
    MchId::parse(text).unwrap()
}

fn binary(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64.replace('\n', "")).unwrap()
}

/// A self-signed certificate and its key, valid for these years.
pub fn made(common_name: &str, from: i32, to: i32) -> (String, String) {
    made_until(common_name, from, (to, 1, 1))
}

/// The same with the year, month and day of its end.
pub fn made_until(common_name: &str, from: i32, (year, month, day): (i32, u8, u8)) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, month, day);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn pem_and_both_generations_of_pkcs12_make_an_identity() {
    let ours = mch_id("1900000109");
    let config = wechat("https://main.example.com", "https://backup.example.com");
    for certificate in [
        MerchantCertificate::from_pem(CERTIFICATE, KEY, &ours),
        MerchantCertificate::from_pem(RSA_CERTIFICATE, RSA_KEY, &ours),
        // One file with both, as `openssl pkcs12 -nodes` writes it.
        MerchantCertificate::from_pem(
            &[RSA_KEY, RSA_CERTIFICATE].concat(),
            &[RSA_KEY, RSA_CERTIFICATE].concat(),
            &ours,
        ),
        MerchantCertificate::from_pkcs12(&binary(LEGACY_P12), &ours),
        MerchantCertificate::from_pkcs12(&binary(MODERN_P12), &ours),
    ] {
        let certificate = certificate.unwrap();
        Client::with_certificate(&config, &certificate).unwrap();
        let shown = format!("{certificate:?}");
        assert!(shown.contains("not_after: 2126-") && shown.len() < 100, "{shown}");
    }
    let dates = [
        MerchantCertificate::from_pem(RSA_CERTIFICATE, RSA_KEY, &ours),
        MerchantCertificate::from_pkcs12(&binary(LEGACY_P12), &ours),
        MerchantCertificate::from_pkcs12(&binary(MODERN_P12), &ours),
    ]
    .map(|certificate| certificate.unwrap().not_after());
    assert!(dates.iter().all(|date| *date == dates[0]), "{dates:?}");
}

#[test]
fn each_mistake_has_its_name_and_shows_no_key() {
    let ours = mch_id("1900000109");
    let other_merchant = CertificateError::OtherMerchant { common_name: "1900000109".into() };
    let pem = |cert: &[u8], key: &[u8]| MerchantCertificate::from_pem(cert, key, &ours).unwrap_err();
    for (error, expected) in [
        (pem(CERTIFICATE, OTHER_KEY), CertificateError::KeyDiffers),
        (pem(RSA_CERTIFICATE, KEY), CertificateError::KeyDiffers),
        (pem(CERTIFICATE, CERTIFICATE), CertificateError::NoKey),
        (pem(RSA_CERTIFICATE, ENCRYPTED_KEY), CertificateError::KeyEncrypted),
        (pem(KEY, KEY), CertificateError::NoCertificate),
        (pem(b"", KEY), CertificateError::NoCertificate),
        (pem(b"-----BEGIN CERTIFICATE-----\nMII", KEY), CertificateError::NoCertificate),
        (pem(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", KEY), CertificateError::NoCertificate),
        (MerchantCertificate::from_pem(CERTIFICATE, KEY, &mch_id("1900000110")).unwrap_err(), other_merchant),
    ] {
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("MI"), "{error}");
    }
    // The password is the merchant's own number.
    for (file, mch) in
        [(binary(LEGACY_P12), "1900000110"), (binary(MODERN_P12), "1900000110"), (RSA_KEY.to_vec(), "1900000109")]
    {
        let error = MerchantCertificate::from_pkcs12(&file, &mch_id(mch)).unwrap_err();
        assert!(
            matches!(error, CertificateError::Pkcs12(_)) && error.to_string().contains("openssl pkcs12"),
            "{error}"
        );
    }
    let mut cut = binary(LEGACY_P12);
    cut.truncate(500);
    assert!(matches!(MerchantCertificate::from_pkcs12(&cut, &ours), Err(CertificateError::Pkcs12(_))));
}

#[test]
fn the_last_thirty_days_are_reported() {
    let (cert, key) = made("1900000109", 2025, 2030);
    let certificate = MerchantCertificate::from_pem(cert.as_bytes(), key.as_bytes(), &mch_id("1900000109")).unwrap();
    let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    let (from, to) = (at("2025-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z"));
    for (now, validity) in [
        ("2024-12-31T23:59:59Z", Validity::NotYet(from)),
        ("2025-01-01T00:00:00Z", Validity::Good),
        ("2029-12-02T00:00:00Z", Validity::Good),
        ("2029-12-02T00:00:01Z", Validity::EndsSoon(to)),
        ("2030-01-01T00:00:00Z", Validity::EndsSoon(to)),
        ("2030-01-01T00:00:01Z", Validity::Expired(to)),
    ] {
        assert_eq!(certificate.validity(at(now)), validity, "{now}");
    }
}

/// A simulator with one paid order, and its merchants' files in a folder.
struct Stage {
    shop: Shop,
    transaction_id: String,
    folder: TempDir,
}

impl Stage {
    async fn open() -> Stage {
        let shop = Shop::open().await;
        let transaction_id = shop.paid("A100001").await;
        let folder = TempDir::new().unwrap();
        for number in [MCH_ID, OTHER_MCH_ID] {
            let files = shop.files(number).await;
            let text = |name: &str| files[name].as_str().unwrap().to_owned();
            let own = folder.path().join(number);
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join("apiclient_cert.p12"), binary(&text("apiclient_cert.p12"))).unwrap();
            for name in ["apiclient_cert.pem", "apiclient_key.pem", "ca.pem"] {
                std::fs::write(own.join(name), text(name)).unwrap();
            }
        }
        Stage { shop, transaction_id, folder }
    }

    fn own(&self, number: &str) -> std::path::PathBuf {
        self.folder.path().join(number)
    }

    fn config(&self) -> Wechat {
        Wechat {
            refund_url: Some(self.shop.sandbox.refund_base_url()),
            pay_ca_file: Some(self.own(MCH_ID).join("ca.pem")),
            ..wechat(&self.shop.base, &self.shop.base)
        }
    }

    fn certificate(&self, number: &str, file: &str) -> MerchantCertificate {
        let own = self.own(number);
        let key = (!file.ends_with(".p12")).then(|| own.join("apiclient_key.pem"));
        MerchantCertificate::read(&own.join(file), key.as_deref(), &mch_id(number)).unwrap()
    }

    /// Our merchant's refund, with whatever this client shows.
    async fn refund(&self, client: &Client, number: &str) -> Refunding {
        let order = RefundOrder {
            appid: AppId::parse(APPID).unwrap(),
            mch_id: mch_id(MCH_ID),
            sign_type: SignType::HmacSha256,
            transaction_id: TransactionId::parse(&*self.transaction_id).unwrap(),
            out_refund_no: OutRefundNo::parse(number).unwrap(),
            total_fee: Fen::from_i64(88),
            refund_fee: Fen::from_i64(20),
            refund_fee_type: None,
            refund_desc: None,
            notify_url: None,
        };
        refund::place(client, &key(), &refund::params(&order)).await
    }

    async fn refunds(&self) -> Vec<Value> {
        self.shop.refunds().await
    }
}

#[tokio::test]
async fn a_refund_is_placed_with_the_merchants_certificate_from_either_form() {
    let stage = Stage::open().await;
    for (n, file) in ["apiclient_cert.pem", "apiclient_cert.p12"].into_iter().enumerate() {
        let client = Client::with_certificate(&stage.config(), &stage.certificate(MCH_ID, file)).unwrap();
        let placed = stage.refund(&client, &format!("R{n}")).await;
        let Refunding::Accepted(accepted, _) = placed else { panic!("{file}: {placed:?}") };
        assert_eq!(accepted.out_trade_no, OutTradeNo::parse("A100001").unwrap());
        assert_eq!((accepted.refund_fee, accepted.cash_refund_fee), (Fen::from_i64(20), Some(Fen::from_i64(20))));
        assert_eq!(accepted.refund_id, stage.refunds().await[n]["refund_id"].as_str().unwrap());
        stage.shop.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn without_the_right_certificate_a_refund_is_not_taken_and_moves_nothing() {
    let stage = Stage::open().await;
    let others = Client::with_certificate(&stage.config(), &stage.certificate(OTHER_MCH_ID, "apiclient_cert.pem"));
    let refused = stage.refund(&others.unwrap(), "R1").await;
    // That is unsigned, so it is no refusal: the refund waits for the right certificate.
    let Refunding::Doubt(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.message, "certificate not match");

    let to_tls = Wechat { pay_url: stage.shop.sandbox.refund_base_url(), ..stage.config() };
    for config in [stage.config(), to_tls] {
        let refused = stage.refund(&Client::new(&config).unwrap(), "R1").await;
        let Refunding::Later(error) = refused else { panic!("{refused:?}") };
        assert!(error.message.contains("400"), "{error:?}");
    }
    assert!(stage.refunds().await.is_empty());
}

#[tokio::test]
async fn a_host_whose_authority_is_not_trusted_gets_nothing_to_read() {
    let stage = Stage::open().await;
    let (own, foreign) = (stage.certificate(MCH_ID, "apiclient_cert.pem"), Shop::open().await);
    let foreign_ca = stage.folder.path().join("foreign.pem");
    std::fs::write(&foreign_ca, foreign.files(MCH_ID).await["ca.pem"].as_str().unwrap()).unwrap();
    for pay_ca_file in [None, Some(foreign_ca)] {
        let client = Client::with_certificate(&Wechat { pay_ca_file, ..stage.config() }, &own).unwrap();
        let unknown = stage.refund(&client, "R1").await;
        assert!(matches!(unknown, Refunding::Unknown { .. }), "{unknown:?}");
    }
    let requests = stage.shop.get("requests").await;
    assert!(requests["requests"].as_array().unwrap().iter().all(|r| r["api"] != "refund"), "{requests}");
}

#[test]
fn an_authority_file_must_hold_a_certificate() {
    let folder = TempDir::new().unwrap();
    let (empty, broken) = (folder.path().join("empty"), folder.path().join("broken"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----").unwrap();
    for file in [Path::new("/nowhere/ca.pem"), &empty, &broken] {
        let config = Wechat {
            pay_ca_file: Some(file.to_owned()),
            ..wechat("https://main.example.com", "https://backup.example.com")
        };
        let error = Client::new(&config).unwrap_err();
        assert!(matches!(error, ClientError::Authority { .. }), "{error}");
    }
}
