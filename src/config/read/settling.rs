//! Which notifications of a merchant are believed as they come, and about which WeChat is asked first.

use super::typed::Settling;
use crate::config::reader::Reader;
use crate::money::Fen;
use crate::trade::SignType;

/// `sign_type`: how the merchant's own requests are signed, which is how WeChat signs what answers them.
pub(super) fn settling(r: &mut Reader<'_>, sign_type: Option<SignType>) -> Option<Settling> {
    let accept_md5 = if r.has("accept_md5") { r.flag("accept_md5") } else { Some(true) };
    if accept_md5 == Some(false) && sign_type == Some(SignType::Md5) {
        r.problem("accept_md5", "must be true with sign_type = \"MD5\": WeChat signs its notifications so".into());
    }
    let above = r.number_or("query_before_settle_above_fen", 0, 0..=Fen::ORDER_MAX.as_i64());
    let query_above = above.map(|fen| Some(Fen::from_i64(fen)).filter(|fen| *fen > Fen::ZERO));
    Some(Settling { accept_md5: accept_md5?, query_above: query_above? })
}
