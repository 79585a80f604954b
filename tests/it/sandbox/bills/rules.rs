//! When there is a bill, who gets it, and in which form.

use serde_json::json;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::setup_fault::SetupFault;
use wxpay_worker::wechat::v2::bill::{
    Ask, DownloadError, FundAccount, GunzipError, RefusalKind, TradeBillType, write_request,
};
use wxpay_worker::wechat::v2::sign::verify;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use super::{Stage, today};
use crate::sandbox::parts::{APPID, MCH_ID, OTHER_APPID, key, sealed, with};
use crate::sandbox::refunds::parts::https;
use crate::wechat::{app_id, merchant_of};

fn request(more: &[(&str, &str)]) -> Fields {
    with(Fields::new(), &[&[("appid", APPID), ("mch_id", MCH_ID), ("bill_date", "20250102")], more].concat())
}

fn kind(error: &DownloadError) -> RefusalKind {
    match error {
        DownloadError::Refused(refusal) => refusal.kind,
        error => panic!("{error}"),
    }
}

const TRADES: fn() -> Ask = || Ask::trades(today(), TradeBillType::All);
const FUNDS: fn() -> Ask = || Ask::fund_flow(today(), FundAccount::Basic);

#[tokio::test]
async fn a_bill_is_there_from_ten_in_the_morning_for_three_months() {
    let stage = Stage::open().await;
    stage.paid("A100001", "88").await;
    for (hour, expected) in [(8, RefusalKind::NoBill), (9, RefusalKind::Creating)] {
        stage.next_morning(hour);
        for ask in [TRADES(), FUNDS()] {
            let error = stage.fetch(ask).await.unwrap_err();
            assert_eq!(kind(&error), expected, "{hour} {ask:?}");
            assert!(error.may_come_later());
        }
    }
    stage.next_morning(10);
    for ask in [TRADES(), FUNDS()] {
        let file = stage.fetch(ask).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap()[..3], *b"\xef\xbb\xbf", "{ask:?}");
    }
    for ask in [
        Ask::trades(today().next(), TradeBillType::All),
        Ask::trades(today().previous(), TradeBillType::All),
        Ask::trades(today(), TradeBillType::Refund),
        Ask::fund_flow(today(), FundAccount::Fees),
    ] {
        assert_eq!(kind(&stage.fetch(ask).await.unwrap_err()), RefusalKind::NoBill, "{ask:?}");
    }
    stage.next_morning(24 * 93);
    assert_eq!(kind(&stage.fetch(TRADES()).await.unwrap_err()), RefusalKind::NoBill);
    let files: Vec<_> = std::fs::read_dir(stage.bills()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "no half files, and the earlier ones stay: {files:?}");
}

#[tokio::test]
async fn requests_are_checked_as_those_of_other_calls() {
    let stage = Stage::open().await;
    stage.paid("A100001", "88").await;
    stage.next_morning(10);
    for (fields, says) in [
        (request(&[("bill_type", "NONE")]), "invalid bill_type"),
        (request(&[("bill_date", "20250230")]), "data format error"),
        (request(&[("bill_date", "")]), "missing parameter"),
        (request(&[("tar_type", "ZIP")]), "data format error"),
        (request(&[("appid", OTHER_APPID)]), "APPID_MCHID_NOT_MATCH"),
    ] {
        let answer = stage.shop.raw("downloadbill", fields, SignType::Md5).await;
        assert_eq!((&*answer["return_code"], &*answer["return_msg"]), ("FAIL", says), "{answer:?}");
        assert!(!answer.contains_key("sign"), "{answer:?}");
    }
    let forged = with(sealed(request(&[]), SignType::Md5), &[("bill_type", "ALL")]);
    let answer = stage.shop.post("/pay/downloadbill", xml::write(&forged).into_bytes()).await.unwrap();
    assert!(answer.text().await.unwrap().contains("签名错误"));
    let plain = stage.shop.post("/pay/downloadbill", xml::write(&sealed(request(&[]), SignType::Md5)).into_bytes());
    let plain = plain.await.unwrap().bytes().await.unwrap();
    let file = stage.fetch(TRADES()).await.unwrap();
    assert_eq!(std::fs::read(file).unwrap(), plain, "compressed and plain are the same bill");
    let requests = stage.shop.get("requests").await;
    assert!(requests.to_string().contains("downloadbill"), "{requests}");
}

#[tokio::test]
async fn a_fund_flow_needs_the_certificate_and_hmac() {
    let stage = Stage::open().await;
    stage.paid("A100001", "88").await;
    stage.next_morning(10);
    let files = stage.shop.files(MCH_ID).await;
    let body = |sign_type| xml::write(&sealed(request(&[("account_type", "Basic")]), sign_type));
    let url = format!("{}/pay/downloadfundflow", files["refund_base_url"].as_str().unwrap());
    let bare = https(&files, None).post(&url).body(body(SignType::HmacSha256)).send().await.unwrap();
    assert_eq!(bare.status(), 400);
    let shown = https(&files, Some(crate::sandbox::refunds::parts::identity(&files)));
    let answer = shown.post(&url).body(body(SignType::Md5)).send().await.unwrap();
    let answer = xml::parse(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!((&*answer["result_code"], &*answer["err_code"]), ("FAIL", "PARAM_ERROR"));
    let answer = shown.post(&url).body(body(SignType::HmacSha256)).send().await.unwrap();
    assert!(answer.headers()["digest"].to_str().unwrap().starts_with("SHA="));
    assert!(answer.text().await.unwrap().contains("记账时间"));
}

#[test]
fn requests_are_signed_as_each_call_wants_it() {
    let mut merchant = merchant_of(MCH_ID, &key());
    merchant.sign_type = SignType::Md5;
    for (ask, sign_type, path, name) in [
        (TRADES(), SignType::Md5, "/pay/downloadbill", "10000100-trades-all-20250102.csv"),
        (FUNDS(), SignType::HmacSha256, "/pay/downloadfundflow", "10000100-fund-flow-basic-20250102.csv"),
    ] {
        let fields = xml::parse(write_request(&merchant, &app_id(), &ask, "n".to_owned()).as_bytes()).unwrap();
        assert_eq!(verify(&fields, &key()), Ok(sign_type));
        assert_eq!((ask.path(), ask.file_name(&merchant).as_str()), (path, name));
        assert_eq!((&*fields["bill_date"], &*fields["tar_type"]), ("20250102", "GZIP"));
    }
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_leaves_the_earlier_file() {
    let stage = Stage::open().await;
    stage.paid("A100001", "88").await;
    stage.next_morning(10);
    let file = stage.fetch(TRADES()).await.unwrap();
    let before = std::fs::read(&file).unwrap();
    stage.paid("A100002", "88").await;
    let fails = async |kind: &str| {
        stage.shop.faults(json!([{"on": "downloadbill", "kind": kind, "times": 1}])).await;
        let error = stage.fetch(TRADES()).await.unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), before, "{kind}");
        assert_eq!(std::fs::read_dir(stage.bills()).unwrap().count(), 1, "{kind}");
        error
    };
    assert!(matches!(fails("half_body").await, DownloadError::Transport(_)));
    assert!(matches!(fails("http_500").await, DownloadError::Transport(_)));
    assert_eq!(kind(&fails("system_error").await), RefusalKind::Busy);
    assert_eq!(kind(&fails("rate_limit").await), RefusalKind::TooFrequent);
    assert_eq!(kind(&fails("foreign_address").await), RefusalKind::Setup(SetupFault::Ip));
    let raw = json!([{"on": "downloadbill", "kind": "raw", "times": 1, "body_base64": "H4sIAAAAAAACAw=="}]);
    stage.shop.faults(raw).await;
    assert_eq!(stage.fetch(TRADES()).await.unwrap_err(), DownloadError::Gunzip(GunzipError::CutShort));
    for (on, kind) in [("downloadbill", "tamper"), ("downloadbill", "rewrite"), ("downloadfundflow", "wrong_sign")] {
        let (status, _) = stage.shop.control("faults", json!([{"on": on, "kind": kind}])).await;
        assert_eq!(status, 400, "a file has no signature: {kind}");
    }
    assert_eq!(stage.fetch(TRADES()).await.unwrap(), file);
}
