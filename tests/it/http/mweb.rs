//! The payer's address of an order for a browser outside WeChat, which WeChat compares.

use serde_json::{Value, json};

use super::stage::{KEY, Stage, order, with};

fn mweb(client_ip: Option<&str>) -> Value {
    let wap = json!({"h5_info": {"type": "Wap", "wap_url": "https://m.example.com", "wap_name": "shop"}});
    let mut body = with(with(order("A100001"), "trade_type", json!("MWEB")), "scene_info", wap);
    body.as_object_mut().unwrap().remove("openid");
    if let Some(ip) = client_ip {
        body["client_ip"] = json!(ip);
    }
    body
}

#[tokio::test]
async fn an_address_that_no_payers_browser_has_is_refused_by_name() {
    let stage = Stage::worked().await;
    for ip in [
        None,
        Some("127.0.0.1"),
        Some("127.9.9.9"),
        Some("10.1.2.3"),
        Some("172.16.0.1"),
        Some("192.168.1.1"),
        Some("169.254.1.1"),
        Some("100.64.0.1"),
        Some("0.0.0.0"),
        Some("0.1.2.3"),
        Some("255.255.255.255"),
        Some("224.0.0.1"),
        Some("::1"),
        Some("::"),
        Some("::ffff:127.0.0.1"),
        Some("::ffff:10.0.0.1"),
        Some("fd00::1"),
        Some("fe80::1"),
        Some("ff02::1"),
    ] {
        assert_eq!(stage.place(&mweb(ip), &[]).await.invalid(), ["/client_ip"], "{ip:?}");
    }
    assert_eq!(stage.place(&mweb(Some("host")), &[]).await.invalid(), ["/client_ip"], "named once");
    assert!(stage.stored("A100001").await.is_none());
    for (n, ip) in ["203.0.113.7", "2001:db8::7", "::ffff:203.0.113.7"].into_iter().enumerate() {
        let body = with(mweb(Some(ip)), "order_no", json!(format!("A20000{n}")));
        assert_eq!(stage.place(&body, &[]).await.status, 200, "{ip}");
    }
    // Where WeChat does not compare it, the shop's own address will do.
    for ip in ["127.0.0.1", "10.1.2.3"] {
        let body = with(order(&format!("B{}", ip.len())), "client_ip", json!(ip));
        assert_eq!(stage.place(&body, &[]).await.status, 200, "{ip}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_switch_to_the_browser_needs_such_an_address_too() {
    let stage = Stage::worked().await;
    stage.place(&order("A100001"), &[]).await;
    stage.clock.advance(std::time::Duration::from_secs(301));
    let authorization = format!("Bearer {KEY}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let scene = mweb(None)["scene_info"].clone();
    let mut attempt = json!({"trade_type": "MWEB", "scene_info": scene});
    let reply = stage.send("POST", "/v1/orders/A100001/attempts", &headers, attempt.to_string().as_bytes()).await;
    assert_eq!(reply.invalid(), ["/client_ip"], "the order was placed from 127.0.0.1");
    attempt["client_ip"] = json!("203.0.113.7");
    let reply = stage.send("POST", "/v1/orders/A100001/attempts", &headers, attempt.to_string().as_bytes()).await;
    assert!(reply.status < 300, "{}", reply.text());
    stage.finish().await;
}
