//! `wxpayctl`: what operators ask and do, over the service's HTTP API.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    wxpay_worker::ctl::main().await
}
