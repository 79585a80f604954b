//! Checks that every call passes: transport, XML, the common elements, the signature, the app.

use std::collections::{BTreeMap, HashMap};

use axum::http::Method;
use subtle::ConstantTimeEq;

use super::answer::Refusal;
use crate::ids::AppId;
use crate::sandbox::settings::Account;
use crate::sandbox::state::SandboxState;
use crate::trade::SignType;
use crate::wechat::v2::sign::sign;
use crate::wechat::v2::xml;
use crate::wechat::v2::xml::{Fields, XmlError};

/// A message whose signature holds.
pub(super) struct Message<'w> {
    pub account: &'w Account,
    pub appid: AppId,
    pub sign_type: SignType,
    pub fields: Fields,
    /// It came to the test environment.
    pub is_test: bool,
}

/// Why a message is refused before its signature is known to hold.
fn communication(message: impl Into<String>) -> Refusal {
    Refusal::Communication(message.into())
}

/// Reads one message.
pub(super) fn read(method: &Method, body: &[u8]) -> Result<Fields, Refusal> {
    if method != Method::POST {
        return Err(communication("请使用post方法"));
    }
    if body.is_empty() {
        return Err(communication("post数据为空"));
    }
    xml::parse(body).map_err(|error| match error {
        XmlError::NotText => communication("编码格式错误，请使用UTF-8编码"),
        XmlError::Forbidden | XmlError::Duplicate | XmlError::Malformed | XmlError::TooLarge => {
            communication("XML格式错误")
        }
    })
}

/// Verifies the signature of one message, which names its merchant in the element `mch_id`.
pub(super) fn verified<'w>(
    accounts: &'w HashMap<String, Account>,
    fields: &Fields,
    mch_id: &str,
) -> Result<(&'w Account, SignType), Refusal> {
    let account = accounts.get(required(fields, mch_id)?).ok_or_else(|| communication("mch_id错误"))?;
    let sign_type = match optional(fields, "sign_type") {
        None => SignType::Md5,
        Some(name) => SignType::parse(name).ok_or_else(|| malformed("sign_type"))?,
    };
    let expected = sign(fields, &account.v2_key, sign_type);
    if !bool::from(expected.as_bytes().ct_eq(required(fields, "sign")?.as_bytes())) {
        return Err(communication("签名错误"));
    }
    Ok((account, sign_type))
}

/// Reads and verifies one message.
pub(super) fn message<'w>(
    sandbox: &'w SandboxState,
    is_test: bool,
    method: &Method,
    body: &[u8],
) -> Result<Message<'w>, Refusal> {
    let fields = read(method, body)?;
    for name in ["appid", "mch_id", "nonce_str", "sign"] {
        required(&fields, name)?;
    }
    lengths(&fields, &[("appid", 32), ("mch_id", 32), ("nonce_str", 32), ("sign", 64)])?;
    let (account, sign_type) = verified(sandbox.accounts_of(is_test), &fields, "mch_id")?;
    let appid = AppId::parse(required(&fields, "appid")?).map_err(|_| malformed("appid"))?;
    Ok(Message { account, appid, sign_type, fields, is_test })
}

impl Message<'_> {
    /// Whether the app exists and is this merchant's.
    pub fn check_app(&self, sandbox: &SandboxState) -> Result<(), Refusal> {
        if self.account.appids.contains(&self.appid) {
            Ok(())
        } else if sandbox.appids.contains(&self.appid) {
            Err(Refusal::Business("APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配".to_owned()))
        } else {
            Err(Refusal::Business("APPID_NOT_EXIST", "appid不存在".to_owned()))
        }
    }

    /// Every element that is business and not transport; empty ones count as absent.
    pub fn parameters(&self) -> BTreeMap<&str, &str> {
        self.fields
            .iter()
            .filter(|(name, value)| !value.is_empty() && !matches!(name.as_str(), "nonce_str" | "sign"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

/// An element that is there and not empty.
pub(super) fn optional<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// An element that must be there.
pub(super) fn required<'f>(fields: &'f Fields, name: &str) -> Result<&'f str, Refusal> {
    optional(fields, name).ok_or_else(|| communication(format!("缺少参数：{name}")))
}

/// The element is there and is not what it should be.
pub(super) fn malformed(name: &str) -> Refusal {
    communication(format!("参数格式校验错误：{name}"))
}

/// Limits in bytes of UTF-8: the documents do not say whether bytes or characters count, so the narrower holds.
pub(super) fn lengths(fields: &Fields, limits: &[(&str, usize)]) -> Result<(), Refusal> {
    for (name, limit) in limits {
        if optional(fields, name).is_some_and(|value| value.len() > *limit) {
            return Err(communication(format!("{name}参数长度有误")));
        }
    }
    Ok(())
}
