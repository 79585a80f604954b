//! The API of endpoints: made, changed, tested, deleted, by whom; and what is refused.

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use super::delivery::is_signed;
use super::receiver::Receiver;
use super::{CONFIG, WEBHOOKS, endpoint, get, path, rows, service, until_attempts};
use crate::harness::service::{API_KEY, InProcess, SECOND_MERCHANT, TestService, answer};

impl InProcess {
    /// A request with a body, by any method.
    pub async fn send_json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(API_KEY);
        answer(request.header("content-type", "application/json").body(body.to_string())).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_made_changed_and_deleted_and_its_secret_shown_once() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url, "description": "accounting", "events": ["order.paid"], "reason": "new"});
    let (status, made) = service.post(WEBHOOKS, &body).await;
    assert_eq!(status, 201, "{made}");
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(
        (&made["state"], &made["events"], &made["merchant"]),
        (&json!("enabled"), &json!(["wxpay.order.paid.v1"]), &json!("main"))
    );
    let found = get(&service, &made).await;
    assert_eq!(found["secret"], json!(null));
    let (_, list) = service.get(WEBHOOKS).await;
    assert_eq!((&list["webhooks"][0]["id"], &list["webhooks"][0]["secret"]), (&made["id"], &json!(null)));
    let change = json!({"events": [], "description": "", "state": "disabled", "reason": "holidays"});
    let (status, changed) = service.send_json("PATCH", &path(&made), &change).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        (&changed["events"], &changed["description"], &changed["disabled_reason"], &changed["url"]),
        (&json!([]), &json!(""), &json!("operator"), &made["url"])
    );
    let (status, _) = service.send_json("DELETE", &path(&made), &json!({"reason": "moved"})).await;
    assert_eq!(status, 204);
    for (method, end) in [("GET", ""), ("GET", "/attempts"), ("GET", "/deliveries"), ("POST", "/test"), ("DELETE", "")]
    {
        let (status, problem) = service.send_json(method, &format!("{}{end}", path(&made)), &json!({})).await;
        assert_eq!(status, 404, "{method} {end}: {problem}");
    }
    assert_eq!(service.get(WEBHOOKS).await.1["webhooks"], json!([]));
    let secrets = "SELECT COUNT(*) FROM webhook_endpoints WHERE secret <> '' OR old_secret IS NOT NULL";
    assert_eq!(service.number(secrets).await, 0, "its secrets are gone");
    for action in ["create", "disable", "delete"] {
        assert_eq!(service.audited(&format!("webhook.{action}")).await, ["done"], "{action}");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_reaches_this_endpoint_alone_and_says_what_came_of_it() {
    let service = service().in_process().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let made = endpoint(&service, &receiver.url, &["order.paid"]).await;
    endpoint(&service, &other.url, &[]).await;
    let test = format!("{}/test", path(&made));
    let (status, tested) = service.post(&test, &json!({})).await;
    assert_eq!((status, &tested["outcome"], &tested["answer"]["status"]), (200, &json!("delivered"), &json!(204)));
    let got = receiver.until(1).await[0].clone();
    assert_eq!((got.name().as_str(), &got.event()["data"]["endpoint"]), ("webhook.test", &made["id"]));
    assert!(is_signed(&got, &[made["secret"].as_str().unwrap()]));
    receiver.status(500);
    let (_, tested) = service.post(&test, &json!({})).await;
    assert_eq!((&tested["outcome"], &tested["answer"]["status"]), (&json!("http_status"), &json!(500)));
    let found = get(&service, &made).await;
    assert_eq!((&found["failing_since"], &found["pending"]), (&json!(null), &json!(0)), "a test blames no endpoint");
    let attempts = rows(&service, &made, "attempts").await;
    assert_eq!((attempts.len(), &attempts[0]["cause"], &attempts[0]["delivery"]), (2, &json!("test"), &json!(null)));
    assert!(other.received().is_empty());
    assert_eq!(service.get("/v1/events").await.1["events"], json!([]), "it is not in the feed");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_has_a_bounded_number_of_endpoints() {
    let config = CONFIG.replace("timeout_ms", "endpoints_per_merchant = 2\ntimeout_ms");
    let service = TestService::new().config(&config).in_process().await;
    let url = "http://127.0.0.1:9/";
    let first = endpoint(&service, url, &[]).await;
    let body = json!({"url": url});
    // Asked at once, as many as there is room for are made.
    let all = futures_util::future::join_all((0..4).map(|_| service.post(WEBHOOKS, &body))).await;
    let mut statuses: Vec<u16> = all.iter().map(|(status, _)| *status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
    let (_, problem) = all.iter().find(|(status, _)| *status == 409).unwrap();
    assert_eq!(problem["code"], "webhooks_used_up");
    service.send_json("DELETE", &path(&first), &json!({})).await;
    endpoint(&service, url, &[]).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_no_secret_is_kept() {
    let config = CONFIG.lines().filter(|line| !line.starts_with("key")).collect::<Vec<_>>().join("\n");
    let service = TestService::new().config(&config).in_process().await;
    let (status, problem) = service.post(WEBHOOKS, &json!({"url": "http://127.0.0.1:9/"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("webhooks_not_configured")), "{problem}");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_refused_with_its_place() {
    let service = service().in_process().await;
    let made = endpoint(&service, "http://127.0.0.1:9/", &[]).await;
    for (body, place) in [
        (json!({}), "/url"),
        (json!({"url": "no url"}), "/url"),
        (json!({"url": "http://127.0.0.1:9/", "events": ["order.sold"]}), "/events"),
        (json!({"url": "http://127.0.0.1:9/", "events": "order.paid"}), "/events"),
        (json!({"url": "http://127.0.0.1:9/", "secret": "whsec_mine"}), "/secret"),
        (json!({"url": "http://127.0.0.1:9/", "description": "a\nb"}), "/description"),
    ] {
        let (status, problem) = service.post(WEBHOOKS, &body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!(place)), "{body} {problem}");
    }
    for body in [json!({}), json!({"state": "deleted"}), json!({"url": "http://10.0.0.1/"})] {
        let (status, problem) = service.send_json("PATCH", &path(&made), &body).await;
        assert_eq!(status, 400, "{body} {problem}");
    }
    for query in ["deliveries?state=lost", "attempts?delivery=x", "attempts?after=x", "deliveries?limit=0"] {
        let (status, problem) = service.get(&format!("{}/{query}", path(&made))).await;
        assert_eq!(status, 400, "{query} {problem}");
    }
    let (status, _) = service.post(&format!("{}/recover?since=yesterday", path(&made)), &json!({})).await;
    assert_eq!(status, 400);
    assert_eq!(service.number("SELECT COUNT(*) FROM webhook_endpoints").await, 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_belongs_to_its_merchant_and_needs_the_scope() {
    let key = |name: &str, scopes: &str| {
        let hash = sha256_hex(name.as_bytes());
        format!(
            "[[api_keys]]\nname = \"{name}\"\nhash = \"sha256:{hash}\"\nscopes = [{scopes}]\nmerchants = [\"main\"]\n"
        )
    };
    let service = TestService::new()
        .second_account()
        .config(SECOND_MERCHANT)
        .config(CONFIG)
        .config(&key("of-main", "\"finance\""))
        .config(&key("orders-only", "\"orders\""))
        .in_process()
        .await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let body = |merchant: &str, url: &str| json!({"url": url, "merchant": merchant});
    let (status, theirs) = service.post(WEBHOOKS, &body("second", &other.url)).await;
    assert_eq!(status, 201, "{theirs}");
    assert_eq!(service.post(WEBHOOKS, &json!({"url": other.url})).await.0, 400, "which merchant's?");
    assert_eq!(service.post_by("orders-only", WEBHOOKS, &body("main", &receiver.url)).await.0, 403);
    assert_eq!(service.post_by("of-main", WEBHOOKS, &body("second", &receiver.url)).await.0, 404);
    let (status, ours) = service.post_by("of-main", WEBHOOKS, &body("main", &receiver.url)).await;
    assert_eq!(status, 201, "{ours}");
    assert_eq!(service.get_by("of-main", &path(&theirs)).await.0, 404);
    let (_, list) = service.get_by("of-main", WEBHOOKS).await;
    assert_eq!(list["webhooks"].as_array().unwrap().len(), 1);
    assert_eq!(service.post_by("of-main", &format!("{}/recover", path(&theirs)), &json!({})).await.0, 404);
    // Events of one merchant go to its own endpoints.
    let mut order = crate::harness::service::jsapi("W100001", 100);
    order["merchant"] = json!("main");
    service.place_as(&order).await;
    until_attempts(&service, &ours, 1, "delivered").await;
    assert!(other.received().is_empty());
    service.finish().await;
}
