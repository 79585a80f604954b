//! The arguments of `approvals`.

use clap::Subcommand;

use crate::ctl::args_page::Page;

#[derive(Subcommand)]
pub enum ApprovalsCommand {
    /// What waits, newest first.
    List {
        /// What was decided and what expired, too.
        #[arg(long)]
        all: bool,
        /// Of this merchant alone.
        #[arg(long)]
        merchant: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// One request.
    Show { id: i64 },
    /// Does what was asked for. Needs the key of another client than who asked.
    Approve {
        id: i64,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
        /// Money moves; it cannot be taken back.
        #[arg(long)]
        yes: bool,
    },
    /// Refuses what was asked for: no money moves.
    Refuse {
        id: i64,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}
