//! The arguments of `payers`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::ctl::args_page::Page;

#[derive(Subcommand)]
pub enum PayersCommand {
    /// Ends the sessions of a payer, on all devices.
    EndSessions {
        #[command(flatten)]
        payer: Payer,
    },
    /// Erases what is kept of a payer; it goes on in the background.
    Erase {
        #[command(flatten)]
        payer: Payer,
        /// What is erased cannot be had back.
        #[arg(long)]
        yes: bool,
    },
    /// How far an erasure is, and what it waits for.
    Erasure { id: i64 },
    /// The erasures, newest first.
    Erasures {
        #[command(flatten)]
        page: Page,
    },
}

#[derive(Args)]
pub struct Payer {
    /// A file that holds the openid; - reads it from the standard input. An argument would be seen by others.
    #[arg(long, value_name = "FILE")]
    pub openid_file: PathBuf,
    /// The app of the openid, where there are several.
    #[arg(long)]
    pub app: Option<String>,
    /// Why, for the audit.
    #[arg(long)]
    pub reason: String,
}
