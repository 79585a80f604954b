//! Commands that do the same to a service in front of a simulator. What is masked stays masked.

use serde_json::{Value, json};

use crate::store::{ArchivedRow, StoredOrder};
use crate::wechat::v2::xml;

/// Posts a message's elements to the notification address.
pub fn notification(row: &ArchivedRow, shown: &Value) -> String {
    let members = shown.as_object().into_iter().flatten();
    let fields = members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let body = xml::write(&fields);
    let path = format!("/notify/{}/{}", row.merchant, row.kind.as_deref().unwrap_or("pay"));
    format!("curl \"$WXPAYD{path}\" -H 'content-type: text/xml' --data-binary {}", quoted(&body))
}

/// Places the same order.
pub fn order(stored: &StoredOrder) -> String {
    let content = &stored.content;
    let mut body = json!({
        "order_no": content.order_no,
        "merchant": content.merchant,
        "app": content.app,
        "amount_fen": content.amount_fen,
        "description": content.description,
        "trade_type": content.trade_type,
        "client_ip": content.client_ip,
    });
    if let Some(attach) = &content.attach {
        body["attach"] = json!(attach);
    }
    if let Some(product_id) = &content.product_id {
        body["product_id"] = json!(product_id);
    }
    if content.openid.is_some() {
        body["openid"] = json!(crate::ops::mask::MASKED);
    }
    format!(
        "curl \"$WXPAYD/v1/orders\" -H \"authorization: Bearer $API_KEY\" -H 'content-type: application/json' -d {}",
        quoted(&body.to_string())
    )
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
