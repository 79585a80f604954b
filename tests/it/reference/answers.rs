//! Real answers by the document: status, media type, and every member.

use std::ops::Deref;

use serde_json::{Value, json};

use super::support::{ALL_KEY, Answered, all_scopes, described, problems, resolved, strict};
use crate::harness::service::{InProcess, OPENID, TestService, jsapi};

/// A caller that holds every answer against the document.
pub struct Caller {
    pub service: InProcess,
    document: Value,
}

impl Deref for Caller {
    type Target = InProcess;

    fn deref(&self) -> &InProcess {
        &self.service
    }
}

impl Caller {
    pub async fn start() -> Caller {
        Caller::with("").await
    }

    pub async fn with(config: &str) -> Caller {
        let service = TestService::new().refunds_over_plain_http().config(&all_scopes()).config(config);
        Caller { service: service.in_process().await, document: strict() }
    }

    /// The JSON of an answer, `null` where it is none. `template` is the path as the document has it.
    pub async fn call(&self, method: &str, template: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_with(&[], method, template, path, body).await
    }

    pub async fn call_with(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        template: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let of_name = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(of_name, format!("{}{path}", self.base)).bearer_auth(ALL_KEY);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = Answered::of(request.send().await.unwrap()).await;
        (answer.status, answer.checked(&self.document, method, template))
    }

    pub async fn get(&self, template: &str, path: &str) -> Value {
        let (status, value) = self.call("GET", template, path, None).await;
        assert_eq!(status, 200, "{path} {value}");
        value
    }

    pub async fn post(&self, template: &str, path: &str, body: Value, expected: u16) -> Value {
        let (status, value) = self.call("POST", template, path, Some(body)).await;
        assert_eq!(status, expected, "{path} {value}");
        value
    }

    pub async fn until_credited(&self, order_no: &str) {
        self.service.pay(order_no).await;
        self.until("credited", order_no, |stored| stored.order.paid_reported).await;
    }
}

fn order(order_no: &str, trade_type: &str, more: &Value) -> Value {
    let mut order = jsapi(order_no, 100);
    order.as_object_mut().unwrap().remove("openid");
    order["trade_type"] = trade_type.into();
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order
}

#[tokio::test]
async fn answers_about_orders_and_money_are_as_described() {
    let caller = Caller::start().await;
    for (order_no, trade_type, more) in [
        ("A100001", "JSAPI", json!({"openid": OPENID, "attach": "table 5", "metadata": {"a": 1}})),
        ("A100002", "NATIVE", json!({"product_id": "sku-1"})),
        ("A100003", "APP", json!({})),
        ("A100004", "MWEB", json!({"client_ip": "8.8.8.8", "scene_info": {"h5_info": {"type": "Wap"}}})),
    ] {
        let body = order(order_no, trade_type, &more);
        caller.place_as(&body).await;
        let placed = caller.post("/v1/orders", "/v1/orders", body, 200).await;
        assert!(placed["pay_params"].is_object(), "{placed}");
    }
    let one = "/v1/orders/{order_no}";
    caller.get("/v1/orders", "/v1/orders?limit=2").await;
    caller.get("/v1/orders", "/v1/orders?q=A1000").await;
    caller.get(&format!("{one}/pay-params"), "/v1/orders/A100001/pay-params").await;
    caller.get(one, "/v1/orders/A100001?refresh=1").await;
    let attempt = json!({"trade_type": "NATIVE"});
    caller.post(&format!("{one}/attempts"), "/v1/orders/A100001/attempts", attempt, 409).await;
    caller.post(&format!("{one}/close"), "/v1/orders/A100002/close", json!({}), 202).await;
    let again = order("A100003", "APP", &json!({}));
    let headers = [("prefer", "wait=2"), ("idempotency-key", "again-1")];
    for _ in 0..2 {
        let (status, _) = caller.call_with(&headers, "POST", "/v1/orders", "/v1/orders", Some(again.clone())).await;
        assert_eq!(status, 200);
    }
    caller.until_credited("A100001").await;
    let paid = caller.get(one, "/v1/orders/A100001").await;
    let payment = paid["transaction_id"].as_str().unwrap();
    caller.post(&format!("{one}/close"), "/v1/orders/A100001/close", json!({}), 409).await;
    let refund = json!({"refund_no": "R100001", "amount_fen": 30, "reason": "Out of stock"});
    let refunds = format!("{one}/refunds");
    let (status, _) = caller.call("POST", &refunds, "/v1/orders/A100001/refunds", Some(refund)).await;
    assert!(matches!(status, 200 | 202), "{status}");
    caller.post(&refunds, "/v1/orders/A100001/refunds", json!({"refund_no": "R100002", "amount_fen": 99}), 409).await;
    caller.get("/v1/refunds/{refund_no}", "/v1/refunds/R100001?refresh=1").await;
    caller.get("/v1/refunds", "/v1/refunds").await;
    caller.get("/v1/payments", "/v1/payments?class=credited").await;
    caller.get("/v1/payments/{transaction_id}", &format!("/v1/payments/{payment}")).await;
    let accept = json!({"transaction_id": payment, "reason": "Checked"});
    caller.post(&format!("{one}/accept"), "/v1/orders/A100001/accept", accept, 200).await;
    let seen = json!({"reason": "It was seen"});
    caller.post(&format!("{one}/revoke-token"), "/v1/orders/A100001/revoke-token", seen, 200).await;
    caller.get(&format!("{one}/history"), "/v1/orders/A100001/history").await;
    caller.service.leave_unfinished("an order is being closed, a refund is on its way");
    caller.service.leave_books_open("the same");
    caller.service.finish().await;
}

#[tokio::test]
async fn answers_about_the_books_are_as_described() {
    let caller = Caller::start().await;
    caller.place("A100001").await;
    caller.until_credited("A100001").await;
    let today = caller.clock.now().to_beijing_day();
    caller.get("/v1/ledger", &format!("/v1/ledger?day={today}")).await;
    caller.get("/v1/ledger", "/v1/ledger?format=csv").await;
    caller.get("/v1/balances", &format!("/v1/balances?day={today}")).await;
    caller.get("/v1/reports/daily", &format!("/v1/reports/daily?from={today}")).await;
    caller.get("/v1/reports/daily", &format!("/v1/reports/daily?from={today}&format=xlsx")).await;
    caller.get("/v1/reports/{merchant}/{file}", &format!("/v1/reports/main/{today}.csv")).await;
    let month = &today[..7];
    caller.get("/v1/periods", "/v1/periods").await;
    caller.get("/v1/periods/{merchant}/{month}", &format!("/v1/periods/main/{month}")).await;
    let close = "/v1/periods/{merchant}/{month}/close";
    caller.post(close, &format!("/v1/periods/main/{month}/close"), json!({"reason": "Month-end"}), 409).await;
    let days = "/v1/reconciliations/{merchant}/{date}";
    let yesterday = caller.clock.now().before(std::time::Duration::from_secs(24 * 3600)).to_beijing_day();
    let ask = json!({"merchant": "main", "date": yesterday});
    caller.post("/v1/reconciliations", "/v1/reconciliations", ask, 202).await;
    caller.get("/v1/reconciliations", "/v1/reconciliations").await;
    let day = format!("/v1/reconciliations/main/{yesterday}");
    caller.get(days, &day).await;
    caller.get(&format!("{days}/lines"), &format!("{day}/lines?class=amount")).await;
    caller.post(&format!("{days}/repair"), &format!("{day}/repair"), json!({"dry_run": true}), 200).await;
    let resolve = format!("{days}/lines/{{id}}/resolve");
    caller.post(&resolve, &format!("{day}/lines/1/resolve"), json!({"note": "Checked"}), 404).await;
    let note = json!({"note": "Compared by hand"});
    let explain = format!("{days}/explain");
    caller.post(&explain, &format!("{day}/explain"), note.clone(), 409).await;
    let gone = caller.clock.now().before(std::time::Duration::from_secs(120 * 24 * 3600)).to_beijing_day();
    caller.post(&explain, &format!("/v1/reconciliations/main/{gone}/explain"), note, 200).await;
    caller.get("/v1/reports/daily", &format!("/v1/reports/daily?from={gone}")).await;
    caller.get("/v1/events", "/v1/events?types=order.paid").await;
    caller.service.leave_unfinished("a day is not compared");
    caller.service.finish().await;
}

#[tokio::test]
async fn answers_to_operators_are_as_described() {
    let caller = Caller::start().await;
    caller.place("A100001").await;
    caller.until_credited("A100001").await;
    let list = caller.get("/v1/ops/notifications", "/v1/ops/notifications").await;
    let id = list["notifications"][0]["id"].as_str().unwrap();
    caller.get("/v1/ops/notifications/{id}", &format!("/v1/ops/notifications/{id}")).await;
    caller.get("/v1/ops/dead-letters", "/v1/ops/dead-letters").await;
    caller.get("/v1/ops/dead-letters/groups", "/v1/ops/dead-letters/groups").await;
    caller.call("GET", "/v1/ops/dead-letters/{id}", "/v1/ops/dead-letters/1", None).await;
    caller.get("/v1/ops/jobs", "/v1/ops/jobs").await;
    let run = "/v1/ops/jobs/{name}/run";
    caller.post(run, "/v1/ops/jobs/retention/run", json!({"reason": "To see it"}), 202).await;
    caller.get("/v1/ops/health", "/v1/ops/health").await;
    caller.get("/v1/ops/bus", "/v1/ops/bus").await;
    caller.get("/v1/ops/bus/{stream}/messages", "/v1/ops/bus/PAY_EVENTS/messages").await;
    let plan = json!({"select": {"kind": "event"}, "reason": "To see it"});
    let replay = caller.post("/v1/ops/replays", "/v1/ops/replays", plan, 201).await;
    let path = format!("/v1/ops/replays/{}", replay["id"].as_str().unwrap());
    let one = "/v1/ops/replays/{id}";
    caller.get("/v1/ops/replays", "/v1/ops/replays").await;
    caller.get(one, &path).await;
    caller.get(&format!("{one}/items"), &format!("{path}/items")).await;
    caller.post(&format!("{one}/cancel"), &format!("{path}/cancel"), json!({}), 200).await;
    caller.post(&format!("{one}/start"), &format!("{path}/start"), json!({}), 409).await;
    let key = json!({"name": "another", "scopes": ["orders"], "reason": "To see it", "rate_limit_per_second": 9});
    let made = caller.post("/v1/ops/keys", "/v1/ops/keys", key, 201).await;
    caller.get("/v1/ops/keys", "/v1/ops/keys").await;
    let revoke = format!("/v1/ops/keys/{}/revoke", made["id"].as_str().unwrap());
    caller.post("/v1/ops/keys/{id}/revoke", &revoke, json!({"reason": "It was seen"}), 200).await;
    let sessions = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "reason": "A phone was lost"});
    caller.post("/v1/ops/sessions/end", "/v1/ops/sessions/end", sessions.clone(), 200).await;
    let erasure = caller.post("/v1/ops/erasures", "/v1/ops/erasures", sessions, 202).await;
    caller.get("/v1/ops/erasures", "/v1/ops/erasures").await;
    caller.get("/v1/ops/erasures/{id}", &format!("/v1/ops/erasures/{}", erasure["id"])).await;
    caller.get("/v1/ops/audit", "/v1/ops/audit").await;
    caller.service.finish().await;
}

#[tokio::test]
async fn answers_to_browsers_and_of_the_service_are_as_described() {
    let caller = Caller::start().await;
    let page = "https%3A%2F%2Fm.example.com%2Fpay";
    caller.call("GET", "/api/wechat/jssdk", &format!("/api/wechat/jssdk?url={page}"), None).await;
    for (path, query) in [
        ("/api/wechat/redirect", "callback=https%3A%2F%2Fevil.example"),
        ("/api/wechat/redirect", ""),
        ("/api/wechat/getOpenId", "code=x&state=y"),
        ("/api/wechat/jssdk", "url=1"),
        ("/api/wechat/getUserInfo", ""),
        ("/api/wechat/pay/payWallet", "money=100"),
        ("/api/wechat/pay/status", "order_no=A100001"),
    ] {
        let (status, refusal) = caller.call("GET", path, &format!("{path}?{query}"), None).await;
        assert!(status >= 400 && refusal["code"] != 0, "{path} {refusal}");
    }
    for path in ["/api/wechat/mini/login", "/api/wechat/mini/phone"] {
        let (status, _) = caller.call("POST", path, path, Some(json!({"code": "x"}))).await;
        assert!(status >= 400, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/problems"] {
        caller.call("GET", path, path, None).await;
    }
    caller.call("GET", "/docs/{name}", "/docs/pages.css", None).await;
    caller.call("GET", "/problems/{name}", "/problems/invalid", None).await;
    for path in ["/notify/main/pay", "/notify/no-such/refund"] {
        let template = format!("/notify/{{merchant}}/{}", path.rsplit('/').next().unwrap());
        caller.call("POST", &template, path, Some(json!({}))).await;
    }
    caller.service.finish().await;
}

#[tokio::test]
async fn every_address_refuses_as_described_what_no_key_may_see() {
    let caller = Caller::start().await;
    let document = strict();
    for of in described(&document).iter().filter(|of| of.path.starts_with("/v1/")) {
        let path = super::limits::example_path(&document, of);
        let method = reqwest::Method::from_bytes(of.method.to_uppercase().as_bytes()).unwrap();
        let answer = caller.http.request(method, format!("{}{path}", caller.base)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401, "{path}");
        let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let response = resolved(&document, &of.operation["responses"]["401"]);
        let schema = &response["content"]["application/problem+json"]["schema"];
        assert_eq!(problems(&document, schema, &problem), [] as [String; 0], "{path} {problem}");
    }
    caller.service.finish().await;
}
