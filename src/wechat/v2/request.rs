//! What every request has: the caller's numbers, a nonce, a signature.

use super::sign;
use super::xml;
use super::xml::Fields;
use crate::config::Merchant;
use crate::ids::AppId;
use crate::secret::V2Key;
use crate::trade::SignType;

/// The elements that identify the caller: `appid`, `mch_id`, `sign_type`.
pub fn asker(merchant: &Merchant, appid: &AppId) -> Fields {
    Fields::from([
        ("appid".to_owned(), appid.as_str().to_owned()),
        ("mch_id".to_owned(), merchant.mch_id.as_str().to_owned()),
        ("sign_type".to_owned(), merchant.sign_type.as_str().to_owned()),
    ])
}

/// The body to send: `params` with this nonce, signed by the algorithm `params` names (MD5 where it names none, as
/// the protocol says), written as XML. Elements without a value are left out.
pub fn write(params: &Fields, key: &V2Key, nonce: String) -> String {
    let mut fields: Fields =
        params.iter().filter(|(_, value)| !value.is_empty()).map(|(n, v)| (n.clone(), v.clone())).collect();
    fields.insert("nonce_str".into(), nonce);
    let sign_type = fields.get("sign_type").and_then(|name| SignType::parse(name)).unwrap_or(SignType::Md5);
    xml::write(&sign::seal(fields, key, sign_type))
}

/// A fresh `nonce_str`: 32 unguessable characters.
pub fn nonce() -> String {
    crate::secret::random_text(32)
}
