//! Arguments of every list.

use clap::Args;

/// A page of a list.
#[derive(Args)]
pub struct Page {
    /// Rows at most.
    #[arg(long)]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
}
