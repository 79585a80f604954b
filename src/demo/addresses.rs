//! The addresses of the running demo, for people or for programs.

use std::io::Write;

use serde_json::json;

use super::setup::{APP_ID, Keys, MCH_ID};

/// Where the parts of the demo are.
pub struct Addresses<'a> {
    pub base: &'a str,
    pub wechat: &'a str,
    /// Where the console's user sets its password.
    pub console: &'a str,
    /// Of the order that people place: no earlier one has it.
    pub number: u32,
}

/// The order that people are shown how to place.
pub fn order_no(number: u32) -> String {
    format!("MINE{number:04}")
}

/// One JSON object in one line. The keys are valid for this run and its simulator only.
pub fn for_programs(out: &mut dyn Write, at: &Addresses<'_>, keys: &Keys) -> std::io::Result<()> {
    let Addresses { base, wechat, console, number } = at;
    let all = json!({
        "service": base, "wechat": wechat, "page": format!("{base}/demo"), "api_key": keys.api_key,
        "app_id": APP_ID, "app_secret": keys.app_secret, "mch_id": MCH_ID, "v2_key": keys.v2_key, "console": console,
        "order_no": order_no(*number),
    });
    writeln!(out, "{all}")?;
    out.flush()
}

pub fn for_people(out: &mut dyn Write, at: &Addresses<'_>, keys: &Keys) -> std::io::Result<()> {
    let Addresses { base, wechat, console, number } = at;
    let order_no = order_no(*number);
    let api_key = &keys.api_key;
    writeln!(out, "\nServing until Ctrl-C. Open the checkout page, log in as a payer and pay:\n")?;
    writeln!(out, "  {base}/demo\n")?;
    writeln!(out, "or be an operator: set a password for the user demo within 15 minutes, then sign in:\n")?;
    writeln!(out, "  {console}\n")?;
    writeln!(out, "or be the shop's server:\n")?;
    writeln!(out, "  KEY={api_key}")?;
    writeln!(
        out,
        "  curl -s -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' {base}/v1/orders \\"
    )?;
    writeln!(
        out,
        "    -d '{{\"order_no\":\"{order_no}\",\"amount_fen\":100,\"description\":\"a coffee\",\"trade_type\":\"MWEB\",\
         \"client_ip\":\"203.0.113.7\",\
         \"scene_info\":{{\"h5_info\":{{\"type\":\"Wap\",\"wap_url\":\"{base}/demo\",\"wap_name\":\"demo\"}}}}}}'"
    )?;
    writeln!(out, "  then open its mweb_url in a browser and pay, then read it again:")?;
    writeln!(out, "  curl -s -H \"Authorization: Bearer $KEY\" {base}/v1/orders/{order_no}")?;
    writeln!(out, "  and when it is paid, give a part of it back:")?;
    writeln!(out, "  curl -s -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' \\")?;
    writeln!(
        out,
        "    {base}/v1/orders/{order_no}/refunds -d '{{\"refund_no\":\"BACK{number:04}\",\"amount_fen\":30}}'\n"
    )?;
    writeln!(out, "  the payer's page   {wechat}/_sandbox/cashier?out_trade_no={order_no}")?;
    writeln!(out, "  WeChat's ledger    {wechat}/_sandbox/ledger")?;
    writeln!(out, "  events             {base}/v1/events   (with the key)")?;
    writeln!(out, "  health, metrics    {base}/readyz   {base}/metrics")?;
    out.flush()
}
