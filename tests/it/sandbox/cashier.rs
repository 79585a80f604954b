//! The payer's page, as a browser without script uses it.

use std::time::Duration;

use serde_json::json;

use super::parts::{MCH_ID, Shop, mweb, order, with};

async fn page(shop: &Shop, url: &str) -> (u16, String) {
    let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", shop.base) };
    let answer = shop.http.get(url).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Where the page's n-th form posts to.
fn form(html: &str, n: usize) -> String {
    let action = html.split("<form method=\"post\" action=\"").nth(n + 1).expect("no such form");
    action.split('"').next().unwrap().replace("&amp;", "&")
}

/// Submits a form and follows the redirect.
async fn submit(shop: &Shop, html: &str, n: usize) -> (u16, String) {
    let answer = shop.http.post(format!("{}{}", shop.base, form(html, n))).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    page(shop, answer.headers()["location"].to_str().unwrap()).await
}

#[tokio::test]
async fn a_browser_pays_with_one_form_and_a_reload_pays_nothing() {
    let shop = Shop::open().await;
    let link = shop.place(mweb("M100001")).await["mweb_url"].clone();
    let (status, html) = page(&shop, &link).await;
    assert_eq!(status, 200);
    for text in ["lang=\"zh-CN\"", "width=device-width", "¥0.88", "QQ公仔", MCH_ID, "M100001", "确认支付", "取消"]
    {
        assert!(html.contains(text), "{text}");
    }
    assert!(!html.contains("<script") && !html.contains("src=") && !html.contains("url("), "nothing is loaded");
    let (status, done) = submit(&shop, &html, 0).await;
    assert_eq!(status, 200);
    assert!(done.contains("支付成功") && !done.contains("<form"));
    let (_, again) = submit(&shop, &html, 0).await;
    assert!(again.contains("支付成功"));
    assert_eq!(shop.payments().await, 1);
    assert_eq!(shop.query("M100001").await["trade_state"], "SUCCESS");
}

#[tokio::test]
async fn leaving_shows_that_nothing_was_paid_and_offers_to_go_on() {
    let shop = Shop::open().await;
    shop.prepay(order("A100001")).await;
    let (_, html) = page(&shop, &format!("/_sandbox/cashier?mch_id={MCH_ID}&out_trade_no=A100001")).await;
    let (status, left) = submit(&shop, &html, 1).await;
    assert_eq!(status, 200);
    assert!(left.contains("支付未完成"));
    assert_eq!(shop.payments().await, 0);
    let again = left.split("class=\"button\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (_, html) = page(&shop, &again).await;
    assert!(submit(&shop, &html, 0).await.1.contains("支付成功"));
}

#[tokio::test]
async fn the_merchants_texts_are_shown_as_text() {
    let shop = Shop::open().await;
    let evil = r#"<script>alert('1')</script>"&"#;
    let prepay_id = shop.prepay(with(order("A100001"), &[("body", evil)])).await;
    let (_, html) = page(&shop, &format!("/_sandbox/cashier?prepay_id={prepay_id}")).await;
    assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"));
    assert!(!html.contains("<script"));
    let back = "/_sandbox/cashier?prepay_id=wx1%22%3E%3Cscript%3E";
    let (status, html) = page(&shop, back).await;
    assert_eq!(status, 404);
    assert!(!html.contains("<script"));
}

#[tokio::test]
async fn the_shop_gets_its_customer_back_over_http_only() {
    let shop = Shop::open().await;
    let prepay_id = shop.prepay(order("A100001")).await;
    let to = |url: &str| format!("/_sandbox/cashier?prepay_id={prepay_id}&redirect_url={url}");
    let (_, refused) = page(&shop, &to("javascript%3Aalert(1)")).await;
    assert!(!refused.contains("redirect_url"));
    let (_, html) = page(&shop, &to("https%3A%2F%2Fm.example.com%2Fdone%3Fa%3D1%26b%3D2")).await;
    let (_, done) = submit(&shop, &html, 0).await;
    assert!(done.contains(r#"href="https://m.example.com/done?a=1&amp;b=2""#), "{done}");
}

#[tokio::test]
async fn dead_links_say_so() {
    let shop = Shop::open().await;
    let link = shop.place(mweb("M100001")).await["mweb_url"].clone();
    shop.clock.advance(Duration::from_secs(5 * 60));
    let (status, html) = page(&shop, &link).await;
    assert_eq!(status, 410, "an mweb_url lives for five minutes");
    assert!(html.contains("已失效") && !html.contains("<form"));
    let prepay_id = shop.prepay(mweb("M100001")).await;
    assert_eq!(page(&shop, &format!("/_sandbox/cashier?prepay_id={prepay_id}")).await.0, 200);
    shop.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(page(&shop, &format!("/_sandbox/cashier?prepay_id={prepay_id}")).await.0, 410);
    shop.close("M100001").await;
    let (status, html) = page(&shop, &format!("/_sandbox/cashier?prepay_id={prepay_id}")).await;
    assert_eq!(status, 410);
    assert!(html.contains("订单已关闭"));
    assert_eq!(shop.control("pay", json!({"prepay_id": prepay_id})).await.1["error"], "closed");
}

/// An H5 order whose shop named no `redirect_url`: the payer goes back to the page they came from, else to the shop's
/// site.
#[tokio::test]
async fn who_paid_by_h5_finds_the_way_back_to_the_shop() {
    let shop = Shop::open().await;
    let link = shop.place(mweb("M100001")).await["mweb_url"].clone();
    let from = async |url: &str, referer: Option<&str>| {
        let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", shop.base) };
        let request = shop.http.get(url);
        let request = referer.into_iter().fold(request, |request, referer| request.header("referer", referer));
        request.send().await.unwrap().text().await.unwrap()
    };
    let home = |html: &str| html.contains("返回商家");
    let html = from(&link, Some("https://m.example.com/cart?id=1&n=2")).await;
    let (_, done) = submit(&shop, &html, 0).await;
    assert!(
        done.contains(r#"<a class="button plain" href="https://m.example.com/cart?id=1&amp;n=2">返回商家</a>"#),
        "{done}"
    );
    // Opened again by itself: the site that the order named.
    let paid = format!("/_sandbox/cashier?mch_id={MCH_ID}&out_trade_no=M100001");
    let (_, html) = page(&shop, &paid).await;
    assert!(html.contains(r#"href="https://pay.example.com""#), "{html}");
    // The simulator's own pages and other schemes are no shop.
    let own = format!("{}/_sandbox/", shop.base);
    for referer in [&*own, "javascript:alert(1)", "about:blank"] {
        let html = from(&paid, Some(referer)).await;
        assert!(home(&html) && !html.contains(referer), "{html}");
    }
    // Inside WeChat the sheet closes by itself.
    let prepay_id = shop.prepay(order("A100001")).await;
    let html = from(&format!("/_sandbox/cashier?prepay_id={prepay_id}"), Some("https://m.example.com/")).await;
    assert!(!home(&html) && !submit(&shop, &html, 0).await.1.contains("返回商家"));
}

#[tokio::test]
async fn the_paid_page_is_a_receipt() {
    let shop = Shop::open().await;
    let link = shop.place(mweb("M100001")).await["mweb_url"].clone();
    let (_, html) = page(&shop, &link).await;
    assert!(html.contains("<dt>支付方式</dt>") && html.contains("aria-label=\"取消\">×</button>"));
    let (_, done) = submit(&shop, &html, 0).await;
    let payment = shop.ledger().await["payments"][0].clone();
    let time = payment["time_end"].as_str().unwrap();
    let time =
        format!("{}-{}-{} {}:{}:{}", &time[..4], &time[4..6], &time[6..8], &time[8..10], &time[10..12], &time[12..]);
    let transaction_id = payment["transaction_id"].as_str().unwrap();
    for (name, value) in
        [("商品", "QQ公仔"), ("支付时间", &*time), ("交易单号", transaction_id), ("商户单号", "M100001")]
    {
        assert!(done.contains(&format!("<dt>{name}</dt><dd>{value}")), "{name} {value}: {done}");
    }
    assert!(done.contains("class=\"mark tick\""), "{done}");
}
