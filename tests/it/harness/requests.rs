//! What a test asks of the service and of the simulator over HTTP, and what it waits for there.

use std::time::Duration;

use serde_json::{Value, json};

use super::service::{API_KEY, MCH_ID, OPENID, Rig};
use super::soon;

impl Rig {
    pub async fn get(&self, base: &str, path: &str) -> (u16, Value) {
        self.try_get(base, path).await.unwrap()
    }

    pub async fn post(&self, base: &str, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(base, path, body).await.unwrap()
    }

    /// As [`Rig::get`] of a process that may die meanwhile.
    pub async fn try_get(&self, base: &str, path: &str) -> reqwest::Result<(u16, Value)> {
        answer(self.http.get(format!("{base}{path}")).bearer_auth(API_KEY)).await
    }

    /// As [`Rig::post`] to a process that may die meanwhile.
    pub async fn try_post(&self, base: &str, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let request = self.http.post(format!("{base}{path}")).bearer_auth(API_KEY);
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// Places an order for the first merchant and awaits its pay parameters.
    pub async fn place(&self, base: &str, order_no: &str, amount_fen: i64) -> Value {
        let (status, order) = self.post(base, "/v1/orders", &jsapi(order_no, amount_fen)).await;
        assert_eq!(status, 200, "{order}");
        order
    }

    /// Acts as the payer of an order's first attempt.
    pub async fn pay(&self, order_no: &str) -> Value {
        let body = json!({"out_trade_no": order_no, "mch_id": MCH_ID});
        let (status, paid) = self.post(&self.wechat_url, "/_sandbox/pay", &body).await;
        assert_eq!(status, 200, "{paid}");
        paid
    }

    /// Sets the simulator's misbehaviour.
    pub async fn faults(&self, faults: Value) {
        let (status, answer) = self.post(&self.wechat_url, "/_sandbox/faults", &faults).await;
        assert!(status < 300, "{answer}");
    }

    /// What WeChat knows of an order of the first merchant.
    pub async fn wechat_ledger(&self, out_trade_no: &str) -> Value {
        let path = format!("/_sandbox/ledger?mch_id={MCH_ID}&out_trade_no={out_trade_no}");
        self.get(&self.wechat_url, &path).await.1
    }

    /// Awaits an order's state.
    pub async fn until_state(&self, base: &str, order_no: &str, state: &str) -> Value {
        soon(&format!("{order_no} {state}"), async {
            loop {
                let (status, order) = self.get(base, &format!("/v1/orders/{order_no}?merchant=main")).await;
                if status == 200 && order["state"] == state {
                    return order;
                }
                // The service signals a change on its stream; polling also survives its restart.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// All events of a type so far, in feed order.
    pub async fn events(&self, base: &str, event_type: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let after = if cursor.is_empty() { String::new() } else { format!("&after={cursor}") };
            let path = format!("/v1/events?limit=1000&types={event_type}{after}");
            let (status, page) = self.get(base, &path).await;
            assert_eq!(status, 200, "{page}");
            let events = page["events"].as_array().unwrap().clone();
            cursor = page["next"].as_str().unwrap().to_owned();
            if events.is_empty() {
                return all;
            }
            all.extend(events);
        }
    }
}

/// A JSAPI order for the first merchant.
pub fn jsapi(order_no: &str, amount_fen: i64) -> Value {
    json!({
        "order_no": order_no, "merchant": "main", "app": "shop", "amount_fen": amount_fen, "description": "测试商品",
        "trade_type": "JSAPI", "openid": OPENID, "client_ip": "127.0.0.1",
    })
}

pub async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, Value)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}
