//! The answer of a problem: `application/problem+json` with the members of its kind.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::extract::request_id::request_id;
use super::problem::{Error, Kind, PROBLEM_BASE};
use crate::event::fact::WechatError;

/// Where this server has a page for each type: of the same host, under whichever name it is reached.
const DOCS: &str = "/problems/";
/// A body of a few kilobytes can break thousands of rules, and each breach is some hundred bytes of answer.
const MAX_ERRORS: usize = 50;

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Kind { status, slug, title, retry_after, close } = self.kind();
        let request_id = request_id();
        if let Some(internal) = self.internal() {
            tracing::error!(request_id, problem = slug, error = internal, "A request was refused or failed");
        }
        let mut problem = Map::new();
        problem.insert("type".into(), format!("{PROBLEM_BASE}{slug}").into());
        problem.insert("title".into(), title.into());
        problem.insert("status".into(), status.as_u16().into());
        problem.insert("detail".into(), self.to_string().into());
        problem.insert("code".into(), slug.replace('-', "_").into());
        problem.insert("docs".into(), format!("{DOCS}{slug}").into());
        problem.insert("request_id".into(), request_id.into());
        problem.insert("retryable".into(), retry_after.is_some().into());
        add_members(&self, &mut problem);
        let mut response = (status, Value::Object(problem).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Error::Unauthorized | Error::UnknownKey) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"wxpay-worker\""));
        }
        response
    }
}

/// Adds the members of a problem that others do not have.
fn add_members(error: &Error, problem: &mut Map<String, Value>) {
    match error {
        Error::Invalid(errors) => {
            problem.insert("errors".into(), json!(errors.get(..MAX_ERRORS).unwrap_or(errors)));
            if errors.len() > MAX_ERRORS {
                problem.insert("errors_left_out".into(), (errors.len() - MAX_ERRORS).into());
            }
        }
        Error::PeriodOpenDays(days) => {
            let days: Vec<Value> = days.iter().map(|(day, state)| json!({"day": day, "state": state})).collect();
            problem.insert("days".into(), days.into());
        }
        Error::PeriodOutOfOrder { last } => {
            problem.insert("last_closed".into(), last.as_str().into());
        }
        Error::OrderFailed { order_no, wechat } => {
            problem.insert("order_no".into(), order_no.as_str().into());
            problem.insert("wechat".into(), wechat_json(wechat));
        }
        Error::RefundExceeds { left } | Error::RefundCap { left } => {
            problem.insert("left_fen".into(), left.as_i64().into());
        }
        Error::RefundFailed { refund_no, wechat, elsewhere } => {
            problem.insert("refund_no".into(), refund_no.as_str().into());
            problem.insert("wechat".into(), wechat_json(wechat));
            if let Some(sum) = elsewhere {
                problem.insert("payment_refunded_fen".into(), sum.as_i64().into());
            }
        }
        _ => {}
    }
}

/// WeChat's refusal in its own field names.
pub fn wechat_json(error: &WechatError) -> Value {
    let mut wechat = json!({"err_code": error.code, "err_code_des": error.message});
    if error.is_unsigned() {
        wechat["unsigned"] = json!(true);
    }
    wechat
}
