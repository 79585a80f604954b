//! A job, or a payment.

use serde_json::json;

use super::args::TriggerArgs;
use super::payment;
use crate::ctl::client::{Api, part};
use crate::ctl::exit::{Exit, Failure};
use crate::ctl::output::{Column, Printer};

const TRIGGERED: &[Column] = &[("job", "/job"), ("due", "/at"), ("result", "/result")];
const ORDER_PAID: &str = "order.paid";

pub async fn run(api: &Api, args: TriggerArgs, out: &mut Printer) -> Result<Exit, Failure> {
    if args.what == ORDER_PAID {
        return payment::pay(api, args, out).await;
    }
    if args.fault.is_some() || args.order_no.is_some() {
        let text = format!("--fault and --order-no belong to {ORDER_PAID}, and {} is a job", args.what);
        return Err(Failure::new(Exit::Usage, text));
    }
    let Some(reason) = args.reason else {
        return Err(Failure::new(Exit::Usage, "--reason is needed: why the job is run, for the audit"));
    };
    let answer = api.post(&format!("/v1/ops/jobs/{}/run", part(&args.what)), &json!({"reason": reason})).await?;
    if out.is_json() {
        out.json(&answer)?;
    } else {
        out.record(&answer, TRIGGERED)?;
        out.note("\nhow it went: wxpayctl jobs");
    }
    Ok(Exit::Ok)
}
