//! `wxpayd demo` as a program: the story it tells, what it hands to programs, the page it serves.
//!
//! What a payer sees on that page is tested in a browser: `tests/browser`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::within_timeout;

fn demo(data: &Path) -> Command {
    demo_on("127.0.0.1:0", data)
}

fn demo_on(address: &str, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
    command.args(["demo", "--listen", address, "--data"]).arg(data);
    command
}

/// The demo while it serves; ended when dropped.
struct Serving {
    child: Child,
    says: Value,
}

impl Serving {
    fn start(data: &Path) -> Serving {
        Serving::run(demo(data))
    }

    fn run(mut command: Command) -> Serving {
        let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Serving { child, says: serde_json::from_str(&line).expect("one line of JSON, and nothing before it") }
    }

    fn says(&self, name: &str) -> &str {
        self.says[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.says))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(url: &str) -> reqwest::Response {
    let client = crate::harness::requests::plain_http().build().unwrap();
    client.get(url).send().await.unwrap()
}

#[test]
fn the_demo_shows_one_payment_from_end_to_end_and_stops_when_run_once() {
    let data = tempfile::tempdir().unwrap();
    let output = demo(data.path()).arg("--once").output().unwrap();
    let story = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{story}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let tellers: Vec<&str> =
        story.lines().filter_map(|line| line.split_once(" ms  ")?.1.split_whitespace().next()).collect();
    let wanted = "shop ingress worker WeChat worker shop payer ingress worker worker finance";
    assert_eq!(tellers, wanted.split(' ').collect::<Vec<_>>(), "{story}");
    assert!(story.contains("WeChat's ledger and ours agree: 1 fen"), "{story}");
}

#[tokio::test]
async fn a_second_demo_in_the_same_folder_meets_a_wechat_that_knows_the_first_ones_payment() {
    let data = tempfile::tempdir().unwrap();
    let first = demo(data.path()).arg("--once").output().unwrap();
    let story = String::from_utf8_lossy(&first.stdout);
    let order_no = story.split_once(": order ").and_then(|(_, rest)| rest.split(',').next()).unwrap();
    let second = Serving::start(data.path());
    let ledger: Value = get(&format!("{}/_sandbox/ledger?out_trade_no={order_no}", second.says("wechat")))
        .await
        .text()
        .await
        .map(|text| serde_json::from_str(&text).unwrap())
        .unwrap();
    assert_eq!(ledger["payments"][0]["total_fee"], 1, "{ledger}");
}

async fn shop(demo: &Serving, path: &str, body: Option<Value>) -> (u16, Value) {
    let client = crate::harness::requests::plain_http().build().unwrap();
    let url = format!("{}{path}", demo.says("service"));
    let request = match body {
        Some(body) => client.post(url).header("Content-Type", "application/json").body(body.to_string()),
        None => client.get(url),
    };
    let answer = request.bearer_auth(demo.says("api_key")).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn a_killed_demo_goes_on_in_the_same_folder_and_gives_the_money_back() {
    let data = tempfile::tempdir().unwrap();
    let first = Serving::start(data.path());
    let order = json!({
        "order_no": "KILLED0001", "amount_fen": 100, "description": "a coffee", "trade_type": "JSAPI",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "client_ip": "127.0.0.1",
    });
    let (status, answer) = shop(&first, "/v1/orders", Some(order)).await;
    assert_eq!(status, 200, "{answer}");
    let address = first.says("service").trim_start_matches("http://").to_owned();
    drop(first);

    // Where WeChat notifies of the order. If the port is taken meanwhile, a query finds the payment later.
    let second = Serving::run(demo_on(&address, data.path()));
    let prepay_id = answer["pay_params"]["package"].as_str().unwrap().strip_prefix("prepay_id=").unwrap();
    let payer = crate::harness::requests::plain_http().build().unwrap();
    let paid = payer
        .post(format!("{}/_sandbox/pay", second.says("wechat")))
        .header("Content-Type", "application/json")
        .body(json!({ "prepay_id": prepay_id }).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(paid.status(), 200);
    let mut after = String::new();
    let is_paid = |page: &Value| page["events"].as_array().unwrap().iter().any(|e| e["subject"] == "KILLED0001");
    within_timeout("order.paid", async {
        loop {
            let path = format!("/v1/events?types=wxpay.order.paid.v1&wait=30&limit=1000{after}");
            let (_, page) = shop(&second, &path, None).await;
            if is_paid(&page) {
                break;
            }
            after = format!("&after={}", page["next"].as_str().unwrap());
        }
    })
    .await;
    let back = json!({ "refund_no": "BACK0001", "amount_fen": 30 });
    let (status, answer) = shop(&second, "/v1/orders/KILLED0001/refunds", Some(back)).await;
    assert!((200..=202).contains(&status), "{status} {answer}");
    let ledger = get(&format!("{}/_sandbox/ledger?out_trade_no=KILLED0001", second.says("wechat"))).await;
    let ledger: Value = serde_json::from_str(&ledger.text().await.unwrap()).unwrap();
    assert_eq!(ledger["refunds"][0]["refund_fee"], 30, "{ledger}");
}

/// The data of an earlier demo is kept, and so is the order that someone placed as they were shown.
#[tokio::test]
async fn a_second_demo_shows_how_to_place_an_order_that_is_not_there_yet() {
    let data = tempfile::tempdir().unwrap();
    let first = Serving::start(data.path());
    assert_eq!(first.says("order_no"), "MINE0001");
    let order = json!({
        "order_no": first.says("order_no"), "amount_fen": 100, "description": "a coffee", "trade_type": "JSAPI",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "client_ip": "127.0.0.1",
    });
    assert_eq!(shop(&first, "/v1/orders", Some(order)).await.0, 200);
    drop(first);
    let mut second = demo(data.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(second.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let printed: Vec<String> = lines.take_while(|line| !line.starts_with("  health, metrics")).collect();
    second.kill().unwrap();
    second.wait().unwrap();
    let text = printed.join("\n");
    assert!(text.contains(r#""order_no":"MINE0002""#) && text.contains("/v1/orders/MINE0002/refunds"), "{text}");
    assert!(text.contains("BACK0002") && !text.contains("MINE0001") && !text.contains("BACK0001"), "{text}");
}

/// What stands in the double quotes of this attribute, each time it occurs.
fn attribute<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!(" {name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_checkout_page_runs_and_loads_nothing_but_its_own_files_and_wechats_script() {
    let data = tempfile::tempdir().unwrap();
    let demo = Serving::start(data.path());
    let (service, wechat) = (demo.says("service"), demo.says("wechat"));
    let answer = get(demo.says("page")).await;
    assert_eq!(answer.status(), 200);
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for part in [
        "default-src 'none'",
        &format!("script-src 'self' {wechat}"),
        &format!("connect-src 'self' {wechat}"),
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.split("; ").any(|given| given == part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let html = answer.text().await.unwrap();
    assert!(html.contains("<html lang=\"zh-CN\">"));
    assert!(!html.contains("<style") && attribute(&html, "style").is_empty());
    let handlers = html.match_indices(" on").filter(|(at, _)| {
        html[*at..].split_once('=').is_some_and(|(name, _)| name[1..].chars().all(|c| c.is_ascii_lowercase()))
    });
    assert_eq!(handlers.count(), 0);
    for script in html.split("<script").skip(1) {
        let (_, inside) = script.split_once('>').unwrap();
        assert!(inside.starts_with("</script>"), "an inline script: {inside:.40}");
    }
    let scripts = attribute(&html, "src");
    assert_eq!(scripts, [format!("{wechat}/_sandbox/jweixin.js"), "/demo/page.js".to_owned()]);
    let styles: Vec<&str> = attribute(&html, "href").into_iter().filter(|href| *href != "data:,").collect();
    assert_eq!(styles, ["/demo/page.css"]);
    let code = get(&format!("{service}/demo/page.js")).await.text().await.unwrap();
    let modules: Vec<&str> =
        code.lines().filter_map(|line| line.split_once(" from './")?.1.split('\'').next()).collect();
    assert!(modules.len() >= 3, "{modules:?}");
    for (file, kind) in [("page.css", "text/css; charset=utf-8")]
        .into_iter()
        .chain(modules.iter().map(|name| (*name, "text/javascript; charset=utf-8")))
    {
        let answer = get(&format!("{service}/demo/{file}")).await;
        assert_eq!(answer.status(), 200, "{file}");
        assert_eq!(answer.headers()["content-type"], kind, "{file}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{file}");
    }
}
