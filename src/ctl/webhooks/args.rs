//! The arguments of `webhooks`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::ctl::args_page::Page;

#[derive(Subcommand)]
pub enum WebhooksCommand {
    /// The endpoints and how they are doing, newest first.
    Ls {
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Makes an endpoint and prints its secret, which is shown this once.
    New {
        /// Where events are posted.
        #[arg(value_name = "ADDRESS", required_unless_present = "address_file", conflicts_with = "address_file")]
        address: Option<String>,
        /// A file that holds the address: that of a robot has its key in it, which other users of this host would see.
        #[arg(long, value_name = "FILE")]
        address_file: Option<PathBuf>,
        /// events, wecom (messages for a group robot of WeCom) or mail (mails to mailto:ops@example.com).
        #[arg(long, default_value = "events", requires_if("wecom", "address_file"))]
        format: String,
        /// Whose events; may be left out where there is one merchant.
        #[arg(long)]
        merchant: Option<String>,
        /// Only these types, between commas: order.paid,refund.succeeded.
        #[arg(long, value_delimiter = ',')]
        events: Vec<String>,
        /// For people.
        #[arg(long)]
        description: Option<String>,
        /// Why, for the audit.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Sends an event of no order and says what came of it.
    Test { id: String },
    /// Attempts at an endpoint with the receiver's answers, newest first.
    Attempts {
        id: String,
        /// Of this delivery alone.
        #[arg(long)]
        delivery: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// What is pending, delivered, failed or cancelled, newest first.
    Deliveries {
        id: String,
        /// pending, delivered, failed or cancelled.
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Tries again what was given up.
    Recover {
        id: String,
        /// Only what was made at this time or later.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}
