//! Answers: WeChat's words, signed with the request's algorithm, and what a fault makes of them.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::sandbox::faults::RefundCode;
use crate::sandbox::ledger::account::Refused;
use crate::sandbox::settings::Account;
use crate::secret::random_text;
use crate::trade::SignType;
use crate::wechat::v2::sign::seal;
use crate::wechat::v2::xml;
use crate::wechat::v2::xml::Fields;

/// A refusal by one of the two layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Refusal {
    /// `return_code` FAIL with this `return_msg`; unsigned.
    Communication(String),
    /// `result_code` FAIL with `err_code` and `err_code_des`; signed.
    Business(&'static str, String),
}

impl Refusal {
    /// `SYSTEMERROR`: says nothing about whether the call was executed.
    pub fn system_error() -> Refusal {
        Refusal::Business("SYSTEMERROR", "系统错误".to_owned())
    }

    /// `FREQUENCY_LIMITED`: not executed.
    pub fn rate_limit() -> Refusal {
        Refusal::Business("FREQUENCY_LIMITED", "请求过于频繁，请稍后再试".to_owned())
    }

    /// What a `refuse` fault says.
    pub fn of_refund(code: RefundCode) -> Refusal {
        let (code, des) = match code {
            RefundCode::BizerrNeedRetry => ("BIZERR_NEED_RETRY", "退款业务流程错误，需要商户触发重试来解决"),
            RefundCode::FrequencyLimited => return Refusal::rate_limit(),
            RefundCode::InvalidReqTooMuch => ("INVALID_REQ_TOO_MUCH", "无效请求过多，请稍后再试"),
            RefundCode::OrderNotReady => ("ORDER_NOT_READY", "订单处理中，暂时无法退款，请稍后再试"),
            RefundCode::NotEnough => ("NOTENOUGH", "基本账户余额不足，请充值后重新发起"),
            RefundCode::UserAccountAbnormal => ("USER_ACCOUNT_ABNORMAL", "用户账户异常或注销"),
            RefundCode::Error => ("ERROR", "该订单不支持退款"),
            RefundCode::NoAuth => ("NOAUTH", "没有退款权限"),
            RefundCode::CertError => ("CERT_ERROR", "证书校验错误"),
            RefundCode::ParamError => ("PARAM_ERROR", "参数错误"),
            RefundCode::OrderNotExist => ("ORDERNOTEXIST", "订单不存在"),
            RefundCode::InvalidTransactionId => ("INVALID_TRANSACTIONID", "无效transaction_id"),
            RefundCode::Fail => return Refusal::Communication("请求未通过".to_owned()),
        };
        Refusal::Business(code, des.to_owned())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let (code, des) = match refused {
            Refused::NumberReused => ("INVALID_REQUEST", "201 商户订单号重复"),
            Refused::Paid => ("ORDERPAID", "该订单已支付"),
            Refused::Closed => ("ORDERCLOSED", "订单已关闭"),
            Refused::NotFound => ("ORDERNOTEXIST", "此交易订单号不存在"),
            Refused::ExpiresInThePast => ("PARAM_ERROR", "time_expire时间过短，须晚于当前时间"),
            Refused::System => return Refusal::system_error(),
        };
        Refusal::Business(code, des.to_owned())
    }
}

/// The elements of an answer, without those common to all.
pub(in crate::sandbox) type Reply = Result<Fields, Refusal>;

/// Completes a signed answer. `account` may be another merchant's on purpose (`cross_merchant`).
pub(super) fn signed(reply: Reply, appid: &str, account: &Account, sign_type: SignType) -> Fields {
    let mut fields = match reply {
        Ok(fields) => with(fields, &[("result_code", "SUCCESS")]),
        Err(Refusal::Business(code, des)) => {
            with(Fields::new(), &[("result_code", "FAIL"), ("err_code", code), ("err_code_des", &des)])
        }
        Err(Refusal::Communication(message)) => return unsigned(&message),
    };
    let nonce_str = random_text(16);
    fields = with(
        fields,
        &[
            ("return_code", "SUCCESS"),
            ("return_msg", "OK"),
            ("appid", appid),
            ("mch_id", account.mch_id.as_str()),
            ("nonce_str", &nonce_str),
        ],
    );
    seal(fields, &account.v2_key, sign_type)
}

/// The answer of the communication layer: nothing but the refusal.
pub(super) fn unsigned(message: &str) -> Fields {
    with(Fields::new(), &[("return_code", "FAIL"), ("return_msg", message)])
}

pub(super) fn with(mut fields: Fields, more: &[(&str, &str)]) -> Fields {
    for (name, value) in more {
        fields.insert((*name).to_owned(), (*value).to_owned());
    }
    fields
}

/// The HTTP answer. WeChat says `text/plain` and names no charset; clients that then guess one fail here, too.
pub(super) fn respond(fields: &Fields) -> Response {
    let mut response = Response::new(Body::from(xml::write(fields)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// What the web server in front of WeChat shows who came to `/secapi/…` without a certificate it can use.
pub(super) fn certificate_page(what: &str) -> Response {
    let page = format!(
        "<html><head><title>400 {what}</title></head><body><center><h1>400 Bad Request</h1></center>\
         <center>{what}</center><hr><center>nginx</center></body></html>"
    );
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}
