//! The arguments of `reconcile` and `periods`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ctl::args_page::Page;

/// A merchant and a day in Beijing.
#[derive(Args)]
pub struct Day {
    /// Of this merchant; may be left out where there is one.
    #[arg(long)]
    pub merchant: Option<String>,
    /// A day in Beijing, like 2026-11-27.
    #[arg(long)]
    pub date: String,
}

/// Days in Beijing.
#[derive(Args)]
pub struct Span {
    /// Of this merchant alone.
    #[arg(long)]
    pub merchant: Option<String>,
    /// The first day, like 2026-11-01.
    #[arg(long)]
    pub from: Option<String>,
    /// The last day.
    #[arg(long)]
    pub to: Option<String>,
}

#[derive(Subcommand)]
pub enum ReconcileCommand {
    /// Compares a day with WeChat's bill, and waits for the result.
    #[command(after_help = "Exit codes: 0 balanced or explained, 4 differences are open, 1 it failed")]
    Run {
        #[command(flatten)]
        day: Day,
        /// Do not wait for the result.
        #[arg(long)]
        detach: bool,
    },
    /// The results of days; of one day with --date, with its proof.
    Show {
        #[command(flatten)]
        span: Span,
        /// This day alone; needs --merchant where there are several.
        #[arg(long, conflicts_with_all = ["from", "to"])]
        date: Option<String>,
    },
    /// The lines of a day that differ.
    Lines {
        #[command(flatten)]
        day: Day,
        /// Of this class alone: missing_here, amount, fee …
        #[arg(long)]
        class: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Writes a sheet: the lines of a day (--date), or a row per day (--from, --to).
    #[command(after_help = "Examples:\n  \
        wxpayctl reconcile export --date 2026-11-27 --out 2026-11-27.xlsx\n  \
        wxpayctl reconcile export --from 2026-11-01 --to 2026-11-30 --lang zh --out 2026-11.csv")]
    Export {
        #[command(flatten)]
        span: Span,
        /// The lines of this day.
        #[arg(long, conflicts_with_all = ["from", "to"])]
        date: Option<String>,
        /// The file, whose name ends with .csv or .xlsx; without it, CSV goes to stdout.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The language of the heads: en or zh.
        #[arg(long)]
        lang: Option<String>,
        /// Further columns of the lines of a day: attach, metadata.NAME, between commas.
        #[arg(long, requires = "date")]
        columns: Option<String>,
    },
    /// Writes a bill of a day as WeChat gives it.
    #[command(after_help = "Example: wxpayctl reconcile bill --date 2026-11-27 --type refund --out refunds.csv")]
    Bill {
        #[command(flatten)]
        day: Day,
        /// Of trades: all, success or refund; of an account: basic, operation or fees.
        #[arg(long = "type", default_value = "all", value_name = "TYPE")]
        of: String,
        /// The file; without it, it goes to stdout.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Explains a line that differs.
    Resolve {
        /// As the lines have it.
        id: String,
        #[command(flatten)]
        day: Day,
        /// What explains it.
        #[arg(long)]
        note: String,
    },
    /// Explains a day whose bill WeChat no longer has, so that its month can be closed.
    Explain {
        #[command(flatten)]
        day: Day,
        /// What explains it.
        #[arg(long)]
        note: String,
    },
    /// What would be repaired of a day; with --yes it is, by queries at WeChat.
    Repair {
        #[command(flatten)]
        day: Day,
        /// Why, for the audit.
        #[arg(long, default_value = "reconciliation")]
        reason: String,
        /// Repair it.
        #[arg(long)]
        yes: bool,
        /// Stop the repair that is under way: what was repaired stays.
        #[arg(long, conflicts_with = "yes", requires = "reason")]
        stop: bool,
    },
}

#[derive(Subcommand)]
pub enum PeriodsCommand {
    /// The months that are or were closed.
    List {
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
    },
    /// A month: its days, and what was recorded in it about closed months.
    Show {
        /// Like 2026-11.
        month: String,
        /// Of this merchant; may be left out where there is one.
        #[arg(long)]
        merchant: Option<String>,
    },
    /// Closes a month whose days are balanced or explained.
    Close {
        /// Like 2026-11.
        month: String,
        /// Of this merchant; may be left out where there is one.
        #[arg(long)]
        merchant: Option<String>,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// The figures do not change any more.
        #[arg(long)]
        yes: bool,
    },
    /// Reopens the last month that is closed. Needs the scope admin.
    Reopen {
        /// Like 2026-11.
        month: String,
        /// Of this merchant; may be left out where there is one.
        #[arg(long)]
        merchant: Option<String>,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// It was reported as closed.
        #[arg(long)]
        yes: bool,
    },
}
