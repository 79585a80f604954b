//! The arguments of `replay`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::args_page::Page;

/// `replay` without a command of its own plans, and with `--yes` starts the plan.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
        wxpayctl replay --refused --since 1h --reason \"the key was wrong\"\n  \
        wxpayctl replay --refused --since 1h --reason \"the key was wrong\" --yes\n  \
        wxpayctl replay plan dead_letter --reason-class exhausted --reason \"the database is back\""
)]
pub struct ReplayArgs {
    /// notification, dead_letter, event or webhook.
    #[arg(long, default_value = "notification")]
    pub kind: String,
    /// Start the plan and show how it goes on.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub selection: Option<Selection>,
    #[command(subcommand)]
    pub command: Option<ReplayCommand>,
}

/// What is selected, and why.
#[derive(Args)]
pub struct Selection {
    /// These alone; may be repeated.
    #[arg(long = "id")]
    pub ids: Vec<String>,
    /// Notifications that did not verify when they came.
    #[arg(long)]
    pub refused: bool,
    /// Of this merchant alone.
    #[arg(long)]
    pub merchant: Option<String>,
    /// Of this order alone.
    #[arg(long)]
    pub order_no: Option<String>,
    /// With this reason alone, as the groups of dead letters name it.
    #[arg(long)]
    pub reason_class: Option<String>,
    /// Received at this time or later.
    #[arg(long)]
    pub from: Option<String>,
    /// Received since so long ago: 90s, 30m, 1h, 2d.
    #[arg(long, value_parser = ago, conflicts_with = "from")]
    pub since: Option<Duration>,
    /// Received before.
    #[arg(long)]
    pub to: Option<String>,
    /// Why, for the audit.
    #[arg(long)]
    pub reason: String,
    /// Items in one second.
    #[arg(long)]
    pub rate: Option<u32>,
}

#[derive(Subcommand)]
pub enum ReplayCommand {
    /// Finds what would be handled again, and what would come of it. Changes nothing.
    Plan {
        /// notification, dead_letter, event or webhook.
        kind: String,
        #[command(flatten)]
        selection: Selection,
    },
    /// Starts a plan and shows how it goes on.
    Start {
        id: String,
        /// Do not wait for its end.
        #[arg(long)]
        detach: bool,
    },
    /// How far it is.
    Show { id: String },
    /// Its items and what became of each.
    Items {
        id: String,
        #[command(flatten)]
        page: Page,
    },
    /// Stops it where it is, until it is resumed.
    Pause { id: String },
    /// Goes on where it was paused.
    Resume { id: String },
    /// Ends it; what is done stays done.
    Cancel { id: String },
}

/// A duration like `90s`, `30m`, `1h`, `2d`.
fn ago(text: &str) -> Result<Duration, String> {
    const RULE: &str = "must be like 90s, 30m, 1h or 2d";
    let unit = text.chars().last().ok_or(RULE)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(RULE.to_owned()),
    };
    let count: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| RULE)?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}
