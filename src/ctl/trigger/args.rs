//! What is triggered, and how.

use clap::Args;

/// Runs a job of the scheduler, or has a payment made at the simulator.
#[derive(Args)]
pub struct TriggerArgs {
    /// A job as `wxpayctl jobs` names it, or order.paid: a payment at the simulator of WeChat.
    #[arg(value_name = "JOB|order.paid")]
    pub what: String,
    /// Of a job: why, for the audit.
    #[arg(long)]
    pub reason: Option<String>,
    /// With order.paid: the address of the simulator that the service calls.
    #[arg(long, env = "WXPAYCTL_SANDBOX_URL", value_name = "URL")]
    pub sandbox: Option<String>,
    /// With order.paid: what goes wrong at the simulator, as KIND_CALL: drop_notify, duplicate_notify, delay_notify,
    /// tamper_notify, hang_orderquery … Of this order alone: once, or for ever where it is dropped.
    #[arg(long)]
    pub fault: Option<String>,
    /// With order.paid: this order, which can be paid, instead of a new one.
    #[arg(long, value_name = "NO")]
    pub order_no: Option<String>,
    /// With order.paid: what a new order costs.
    #[arg(long, default_value_t = 100, value_name = "FEN")]
    pub amount_fen: i64,
    /// With order.paid: the app, where the merchant has several.
    #[arg(long)]
    pub app: Option<String>,
    /// With order.paid: the merchant, where the service has several.
    #[arg(long)]
    pub merchant: Option<String>,
}
