//! A payment at the simulator: an order of the service, what goes wrong with it, and the payer's confirmation.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::TriggerArgs;
use crate::ctl::client::{Api, part};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};
use crate::secret::random_text;

const PAID: &[Column] = &[
    ("order", "/order_no"),
    ("attempt", "/out_trade_no"),
    ("transaction", "/transaction_id"),
    ("amount", "/amount_fen"),
    ("fault", "/fault"),
];
/// Of the number of a new order.
const NUMBER_CHARACTERS: usize = 20;
/// How often it is read until WeChat's simulator has it.
const PAYABLE_TRIES: u32 = 60;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

pub async fn pay(api: &Api, args: TriggerArgs, out: &mut Printer) -> Result<Exit, Failure> {
    let fault = args.fault.as_deref().map(rule).transpose()?;
    let Some(address) = &args.sandbox else {
        let text = "--sandbox is needed: the address of the simulator that the service calls (wechat.sandbox_url)";
        return Err(Failure::new(Exit::Usage, text));
    };
    let sandbox = Sandbox::open(address)?;
    // Before an order is placed: at WeChat itself it would wait for a payer.
    sandbox.is_there().await?;
    let order_no = match &args.order_no {
        Some(order_no) => order_no.clone(),
        None => placed(api, &args).await?,
    };
    let order = payable(api, &order_no, args.merchant).await?;
    let attempt = order["attempts"].as_array().and_then(|all| all.last()).unwrap_or(&Value::Null);
    let out_trade_no = attempt["out_trade_no"].as_str().unwrap_or_default().to_owned();
    if let Some(mut rule) = fault {
        rule["out_trade_no"] = json!(out_trade_no);
        sandbox.post("faults", &json!([rule])).await?;
    }
    let payment = match order["pay_params"]["code_url"].as_str() {
        Some(code_url) => sandbox.post("pay", &json!({"code_url": code_url})).await?,
        None => {
            let mch_id = sandbox.merchant_of(&out_trade_no).await?;
            sandbox.post("pay", &json!({"out_trade_no": out_trade_no, "mch_id": mch_id})).await?
        }
    };
    let paid = json!({
        "order_no": order_no, "out_trade_no": out_trade_no, "transaction_id": payment["transaction_id"],
        "amount_fen": order["amount_fen"], "fault": args.fault,
    });
    if out.is_json() {
        out.json(&paid)?;
    } else {
        out.record(&paid, PAID)?;
        out.note(&format!("\nwhat became of it: wxpayctl why {order_no}"));
    }
    Ok(Exit::Ok)
}

/// `drop_notify` as a rule of the simulator, which says what it does not know.
fn rule(fault: &str) -> Result<Value, Failure> {
    // The call may have two words.
    let call = ["refund_notify"].into_iter().find(|call| fault.ends_with(call));
    let split = match call {
        Some(call) => fault.strip_suffix(call).and_then(|kind| Some((kind.strip_suffix('_')?, call))),
        None => fault.rsplit_once('_'),
    };
    let Some((kind, call)) = split else {
        let text = format!("--fault {fault}: must be like drop_notify, duplicate_notify or hang_orderquery");
        return Err(Failure::new(Exit::Usage, text));
    };
    // A notification that comes fifteen seconds later is not lost.
    let times = (kind != "drop").then_some(1);
    Ok(json!({"on": call, "kind": kind, "times": times}))
}

/// A new order: of a payment by a code, which needs no payer that WeChat knows.
async fn placed(api: &Api, args: &TriggerArgs) -> Result<String, Failure> {
    let order_no = format!("T{}", random_text(NUMBER_CHARACTERS));
    let mut order = json!({
        "order_no": order_no, "amount_fen": args.amount_fen, "description": "wxpayctl trigger order.paid",
        "trade_type": "NATIVE", "product_id": "trigger",
    });
    for (name, value) in [("merchant", &args.merchant), ("app", &args.app)] {
        if let Some(value) = value {
            order[name] = json!(value);
        }
    }
    api.post("/v1/orders", &order).await?;
    Ok(order_no)
}

/// The order, once it can be paid.
async fn payable(api: &Api, order_no: &str, merchant: Option<String>) -> Result<Value, Failure> {
    let (path, parameters) = (format!("/v1/orders/{}", part(order_no)), [("merchant", merchant)]);
    let mut order = api.get(&path, &parameters).await?;
    for _ in 0..PAYABLE_TRIES {
        if order["state"] != "requested" {
            break;
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
        order = api.get(&path, &parameters).await?;
    }
    if order["state"] == "payable" {
        return Ok(order);
    }
    let text = format!("the order {order_no} is {}: it cannot be paid", order["state"].as_str().unwrap_or("unknown"));
    Err(Failure::new(Exit::Refused, text))
}

/// The simulator's control API.
struct Sandbox<'a> {
    api: Api,
    address: &'a str,
}

impl Sandbox<'_> {
    fn open(address: &str) -> Result<Sandbox<'_>, Failure> {
        let wrong = |_| Failure::new(Exit::Usage, "--sandbox must be like http://127.0.0.1:19001");
        Ok(Sandbox { api: Api::without_key(address).map_err(wrong)?, address })
    }

    async fn is_there(&self) -> Result<(), Failure> {
        let (status, body) = self.api.try_get("/_sandbox/faults", &[]).await?;
        if status == 200 && body["faults"].is_array() {
            return Ok(());
        }
        Err(Failure::new(Exit::Down, format!("{} is no simulator: it answered {status}", self.address)))
    }

    /// Whose order it is there: merchants may have the same numbers.
    async fn merchant_of(&self, out_trade_no: &str) -> Result<Value, Failure> {
        let ledger = self.api.get("/_sandbox/ledger", &[("out_trade_no", Some(out_trade_no.to_owned()))]).await?;
        match ledger["orders"].as_array().map(Vec::as_slice) {
            Some([order]) => Ok(order["mch_id"].clone()),
            Some([]) | None => Err(Failure::new(Exit::NotFound, format!("the simulator has no order {out_trade_no}"))),
            Some(_) => {
                let text = format!("several merchants of the simulator have an order {out_trade_no}");
                Err(Failure::new(Exit::Failed, text))
            }
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let (status, answer) = self.api.try_post(&format!("/_sandbox/{path}"), body).await?;
        if status == 200 {
            return Ok(answer);
        }
        let exit = match status {
            400 => Exit::Usage,
            404 => Exit::NotFound,
            409 | 410 => Exit::Refused,
            _ => Exit::Failed,
        };
        let said = answer["message"].as_str().unwrap_or("no reason");
        Err(Failure::new(exit, format!("the simulator refuses {path} ({status}): {said}")))
    }
}
