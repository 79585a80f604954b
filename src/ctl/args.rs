//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::approvals::ApprovalsCommand;
use super::args_page::Page;
use super::args_replay::ReplayArgs;
use super::finance::{Between, LedgerArgs, PeriodsCommand, ReconcileCommand};
use super::payers::PayersCommand;
use super::trigger::TriggerArgs;
use super::webhooks::WebhooksCommand;

/// Operations of wxpay-worker over its HTTP API.
#[derive(Parser)]
#[command(
    name = "wxpayctl",
    version,
    after_help = "Examples:\n  \
        wxpayctl health\n  \
        wxpayctl why A100001\n  \
        wxpayctl dead-letters groups\n  \
        wxpayctl replay --refused --since 1h --reason \"the key was wrong\"\n  \
        wxpayctl doctor --config /etc/wxpay/wxpay.toml\n\n\
        Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 partly done, 5 the service does not answer, \
        6 refused or needs --yes"
)]
pub struct Cli {
    /// Where the service is.
    #[arg(long, global = true, env = "WXPAYCTL_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// A file that holds an API key.
    #[arg(long, global = true, env = "WXPAYCTL_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Print what the service answers, as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Whether the service is ready, and each thing it checked. Needs no key.
    Health,
    /// Orders.
    Orders {
        #[command(subcommand)]
        command: OrdersCommand,
    },
    /// Why an order is what it is: everything that happened to it, in order.
    Why {
        order_no: String,
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
    },
    /// Notifications as WeChat posted them.
    Notifications {
        #[command(subcommand)]
        command: NotificationsCommand,
    },
    /// Messages that could not be handled.
    DeadLetters {
        #[command(subcommand)]
        command: DeadLettersCommand,
    },
    /// Money that waits for a second person to be credited or refunded.
    #[command(after_help = "Examples:\n  \
        wxpayctl approvals list\n  \
        wxpayctl approvals approve 17 --reason \"checked with the shop\" --yes")]
    Approvals {
        #[command(subcommand)]
        command: ApprovalsCommand,
    },
    /// One payer: ending its sessions, erasing its data.
    Payers {
        #[command(subcommand)]
        command: PayersCommand,
    },
    /// Handling stored notifications, dead letters and events again: plan, then start.
    Replay(Box<ReplayArgs>),
    /// Domain events.
    Events {
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// The books: what was recorded, oldest first, with the running balance.
    #[command(after_help = "Examples:\n  \
        wxpayctl ledger --day 2026-11-27\n  \
        wxpayctl ledger --day 2026-11-27 --csv > 2026-11-27.csv")]
    Ledger(Box<LedgerArgs>),
    /// The books of a day summed up: opening, what was recorded, closing.
    Balances(Between),
    /// Endpoints that events are posted to.
    #[command(after_help = "Examples:\n  \
        wxpayctl webhooks new https://shop.example.com/hooks --events order.paid > secret\n  \
        wxpayctl webhooks recover ID --since 2026-11-27T00:00:00+08:00 --reason \"the shop is back\"")]
    Webhooks {
        #[command(subcommand)]
        command: WebhooksCommand,
    },
    /// WeChat's bills against our books: day by day, with sheets, notes and repairs.
    #[command(after_help = "Examples:\n  \
        wxpayctl reconcile run --date 2026-11-27\n  \
        wxpayctl reconcile lines --date 2026-11-27 --class missing_here\n  \
        wxpayctl reconcile export --from 2026-11-01 --to 2026-11-30 --out 2026-11.xlsx")]
    Reconcile {
        #[command(subcommand)]
        command: Box<ReconcileCommand>,
    },
    /// Months: their figures, closing and reopening them.
    Periods {
        #[command(subcommand)]
        command: PeriodsCommand,
    },
    /// What the scheduler does.
    Jobs,
    /// Runs a job of the scheduler now, in whichever process gets its lease; or has an order paid at the simulator.
    #[command(after_help = "Examples:\n  \
        wxpayctl trigger retention --reason \"the disk has room again\"\n  \
        wxpayctl trigger order.paid --sandbox http://127.0.0.1:19001 --fault drop_notify")]
    Trigger(Box<TriggerArgs>),
    /// The queue: its streams and consumers. Nothing is taken from it.
    Bus {
        #[command(subcommand)]
        command: BusCommand,
    },
    /// What is wrong with an installation, and how it is mended. Needs no service and changes nothing.
    #[command(after_help = "Examples:\n  \
        wxpayctl doctor --config /etc/wxpay/wxpay.toml\n  \
        wxpayctl doctor --url https://pay.example.com --key-file ops.key\n  \
        wxpayctl doctor --config /etc/wxpay/wxpay.toml --books\n\n\
        Exit codes: 0 nothing to mend, 1 problems, 5 only that something does not answer")]
    Doctor {
        /// The configuration of wxpayd on this host; its environment (WXPAY__…) counts as well.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The most that one check may take, in seconds.
        #[arg(long, default_value_t = 10, value_name = "SECONDS")]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=120))]
        timeout: u64,
        /// Compare orders, ledgers, outbox and feed, too: what the job `books` has not compared, and today.
        #[arg(long)]
        books: bool,
    },
    /// Who did what.
    Audit {
        #[command(flatten)]
        page: Page,
    },
    /// API keys.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// A script that completes commands in a shell.
    Completions { shell: Shell },
    /// The manual page.
    Man {
        /// Write the pages of all commands into this folder instead.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub enum OrdersCommand {
    /// The newest orders first.
    List {
        /// A number of the order, or the beginning of one, or a word of its description.
        search: Option<String>,
        /// requested, payable, paid, closed or failed.
        #[arg(long)]
        state: Option<String>,
        /// paid_late, paid_twice, paid_before_order, outcome_unknown or amount_mismatch.
        #[arg(long)]
        flag: Option<String>,
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One order.
    Show {
        order_no: String,
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
        /// Ask WeChat first.
        #[arg(long)]
        refresh: bool,
    },
    /// Ends the token that a payer's page follows the order with; the order gets another one.
    RevokeToken {
        order_no: String,
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Subcommand)]
pub enum NotificationsCommand {
    /// The newest first.
    List {
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
        /// refused, settled, duplicate, no_payment, waiting, rejected or parked.
        #[arg(long)]
        verdict: Option<String>,
        /// Of this order alone.
        #[arg(long)]
        order_no: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One notification, its payload masked.
    Show { id: String },
}

#[derive(Subcommand)]
pub enum DeadLettersCommand {
    /// How many of each reason, since when, with what to do.
    Groups,
    /// The newest first.
    List {
        /// parked, replayed or discarded.
        #[arg(long)]
        state: Option<String>,
        /// As the groups name it.
        #[arg(long)]
        reason: Option<String>,
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One dead letter, its payload masked.
    Show { id: String },
    /// Gives one up: it is never handled.
    Discard {
        id: String,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// It cannot be taken back.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum EventsCommand {
    /// Prints events as they come, until stopped.
    Tail {
        /// Only these types, between commas.
        #[arg(long)]
        types: Option<String>,
        /// Begin behind this cursor instead of at the oldest event that is kept.
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// End at the newest event instead of waiting for others.
        #[arg(long)]
        no_follow: bool,
    },
}

#[derive(Subcommand)]
pub enum BusCommand {
    /// Every stream and how full it is.
    Ls,
    /// One stream with its settings and consumers.
    Info { stream: String },
    /// How far behind each consumer is.
    Lag,
    /// The oldest messages of a stream, masked. They stay where they are.
    Peek {
        stream: String,
        /// Only what this consumer has not acknowledged.
        #[arg(long)]
        consumer: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

#[derive(Subcommand)]
pub enum KeysCommand {
    /// The keys of the configuration's file and of the database.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Ends a key in every process, within seconds.
    Revoke {
        /// As the list has it.
        id: String,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// It cannot be taken back.
        #[arg(long)]
        yes: bool,
    },
    /// Makes a key, and what the configuration needs of it. Needs no service, unless --remote is given.
    New {
        /// Whose it is.
        #[arg(long, default_value = "shop-backend")]
        name: String,
        /// What it may do.
        #[arg(long, value_delimiter = ',', default_value = "orders")]
        scopes: Vec<String>,
        /// Have the service make it and keep it in the database.
        #[arg(long, requires = "reason")]
        remote: bool,
        /// With --remote: the merchants it may see, or all.
        #[arg(long, value_delimiter = ',', requires = "remote")]
        merchants: Vec<String>,
        /// With --remote: the id of a key that it replaces. The client keeps its idempotency keys and its refund cap.
        #[arg(long, value_name = "ID", requires = "remote")]
        client: Option<String>,
        /// With --remote: until when it counts.
        #[arg(long, value_name = "TIME", requires = "remote")]
        expires: Option<String>,
        /// With --remote: why, for the audit.
        #[arg(long, requires = "remote")]
        reason: Option<String>,
    },
}
