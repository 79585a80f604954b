//! Makes one payment and prints each step: the time since the order was requested, the actor, and the action.

use std::io::Write;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::http::Caller;
use crate::clock::{Clock, Timestamp};
use crate::ids::{MerchantKey, OrderNo};
use crate::secret::random_text;
use crate::store::Store;

/// The clients that take part.
pub struct Parties<'a> {
    /// The shop's server, and its finance department.
    pub shop: Caller,
    /// Acts for the payer and reads WeChat's ledger.
    pub payer: Caller,
    /// The database from which the steps are read back.
    pub store: &'a Store,
}

struct Teller<'a> {
    start: Timestamp,
    out: &'a mut (dyn Write + Send),
}

impl Teller<'_> {
    fn line(&mut self, at: Timestamp, who: &str, what: &str) -> std::io::Result<()> {
        writeln!(self.out, "  {:>7} ms  {who:<9} {what}", at.since(self.start).as_millis())
    }
}

/// Makes the payment and prints it; an error is the first step that failed. Answers the feed's cursor behind it.
pub async fn tell(parties: &Parties<'_>, out: &mut (dyn Write + Send)) -> anyhow::Result<String> {
    let clock = Clock::system();
    let feed = parties.shop.get("/v1/events?limit=1000").await?;
    let mut cursor = end_of_feed(parties, feed.body["next"].as_str().unwrap_or_default()).await?;
    let start = clock.now();
    // Two demos may run within one second.
    let order_no = format!("DEMO{}{}", start.to_beijing(), random_text(4));
    writeln!(out, "One WeChat Pay payment from end to end: order {order_no}, 1 fen, started {start}\n")?;
    let mut teller = Teller { start, out };
    let order = place(parties, &mut teller, &clock, &order_no).await?;
    pay(parties, &mut teller, &clock, &order).await?;
    let paid = wait_for_paid(parties, &order_no, &mut cursor).await?;
    let seen = clock.now();
    read_back(parties, &mut teller, &order_no, &paid, seen).await?;
    end_of_feed(parties, &cursor).await
}

async fn end_of_feed(parties: &Parties<'_>, cursor: &str) -> anyhow::Result<String> {
    let mut cursor = cursor.to_owned();
    loop {
        let page = parties.shop.get(&format!("/v1/events?limit=1000&after={cursor}")).await?;
        let next = page.body["next"].as_str().unwrap_or_default().to_owned();
        if page.body["events"].as_array().is_none_or(Vec::is_empty) {
            return Ok(next);
        }
        cursor = next;
    }
}

async fn place(parties: &Parties<'_>, teller: &mut Teller<'_>, clock: &Clock, order_no: &str) -> anyhow::Result<Value> {
    teller.line(clock.now(), "shop", "POST /v1/orders: 1 fen, trade_type JSAPI, openid of the payer")?;
    let request = json!({
        "order_no": order_no, "amount_fen": 1, "description": "wxpay-worker demo", "trade_type": "JSAPI",
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o", "client_ip": "127.0.0.1",
    });
    let answer = parties.shop.post("/v1/orders", &request).await?;
    ensure!(answer.status == 200, "the order was not answered with pay parameters: {} {}", answer.status, answer.body);
    let answered = clock.now();
    let merchant = MerchantKey::parse("main")?;
    let stored = parties.store.order(&merchant, &OrderNo::parse(order_no)?).await?.context("the order has no row")?;
    let attempt = stored.order.current().context("the order has no attempt")?;
    let prepay = attempt.prepay.as_ref().context("the attempt has no prepay id")?;
    let history = parties.store.history(stored.order.id).await?;
    let evidence = history.evidence.first().context("the change has no evidence")?;
    teller.line(
        stored.order.created_at,
        "ingress",
        "validated; order and first attempt are durable in the database",
    )?;
    let out_trade_no = &attempt.out_trade_no;
    teller.line(
        stored.order.created_at,
        "worker",
        &format!("attempt {out_trade_no}: unified order, from the process that has the claim"),
    )?;
    teller.line(prepay.issued_at, "WeChat", &format!("prepay_id {}", prepay.prepay_id))?;
    teller.line(
        Timestamp::from_ms(evidence.recorded_at_ms),
        "worker",
        "order is payable; state, evidence and order.payable in one transaction",
    )?;
    let params = &answer.body["pay_params"];
    teller.line(
        answered,
        "shop",
        &format!(
            "pay parameters: package {}, signType {}, paySign {}…",
            params["package"].as_str().unwrap_or_default(),
            params["signType"].as_str().unwrap_or_default(),
            params["paySign"].as_str().and_then(|s| s.get(..12)).context("the pay parameters are not signed")?,
        ),
    )?;
    Ok(answer.body)
}

async fn pay(parties: &Parties<'_>, teller: &mut Teller<'_>, clock: &Clock, order: &Value) -> anyhow::Result<()> {
    let package = order["pay_params"]["package"].as_str().context("no package")?;
    let prepay_id = package.strip_prefix("prepay_id=").context("the package names no prepay id")?;
    teller.line(clock.now(), "payer", "confirms in WeChat")?;
    let paid = parties.payer.post("/_sandbox/pay", &json!({ "prepay_id": prepay_id })).await?;
    ensure!(paid.status == 200, "the payer could not pay: {} {}", paid.status, paid.body);
    Ok(())
}

async fn wait_for_paid(parties: &Parties<'_>, order_no: &str, cursor: &mut String) -> anyhow::Result<Value> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while std::time::Instant::now() < deadline {
        let page = parties.shop.get(&format!("/v1/events?after={cursor}&types=wxpay.order.paid.v1&wait=10")).await?;
        let empty = Vec::new();
        for event in page.body["events"].as_array().unwrap_or(&empty) {
            if event["subject"].as_str() == Some(order_no) {
                return Ok(event.clone());
            }
        }
        *cursor = page.body["next"].as_str().context("the feed has no cursor")?.to_owned();
    }
    bail!("order.paid did not arrive within 30 s")
}

async fn read_back(
    parties: &Parties<'_>,
    teller: &mut Teller<'_>,
    order_no: &str,
    paid: &Value,
    seen: Timestamp,
) -> anyhow::Result<()> {
    let merchant = MerchantKey::parse("main")?;
    let stored = parties.store.order(&merchant, &OrderNo::parse(order_no)?).await?.context("the order is gone")?;
    let history = parties.store.history(stored.order.id).await?;
    let [notification] = &history.notifications[..] else {
        bail!("{} notifications are recorded, not one", history.notifications.len())
    };
    let [entry] = &history.ledger[..] else { bail!("{} ledger rows, not one", history.ledger.len()) };
    let settled = Timestamp::from_ms(notification.processed_at_ms);
    teller.line(
        Timestamp::from_ms(notification.received_at_ms),
        "ingress",
        &format!("notification {}: signature holds, durable, SUCCESS", notification.event_id),
    )?;
    let verified_by = notification.verified_by.as_deref().unwrap_or_default();
    teller.line(settled, "worker", &format!("verified again ({verified_by}): amount, merchant, app, number match"))?;
    teller.line(
        settled,
        "worker",
        &format!(
            "settled: order paid, ledger row {} of {} fen for {}",
            entry.id, entry.amount_fen, entry.transaction_id
        ),
    )?;
    teller.line(
        seen,
        "finance",
        &format!("order.paid {} from GET /v1/events", paid["id"].as_str().unwrap_or_default()),
    )?;
    let theirs = parties.payer.get(&format!("/_sandbox/ledger?out_trade_no={}", entry.out_trade_no)).await?;
    let payment = &theirs.body["payments"][0];
    let agree = payment["transaction_id"].as_str() == Some(&entry.transaction_id)
        && payment["total_fee"].as_i64() == Some(entry.amount_fen);
    ensure!(agree, "WeChat's ledger differs: {}", theirs.body);
    let out = &mut teller.out;
    writeln!(out, "\nWeChat's ledger and ours agree: {} fen, transaction {}.", entry.amount_fen, entry.transaction_id)?;
    Ok(out.flush()?)
}
