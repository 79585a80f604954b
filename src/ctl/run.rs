//! From the arguments to the exit code.

use std::process::ExitCode;

use clap::Parser;

use super::args::{Cli, Command};
use super::client::Api;
use super::exit::{Exit, Failure};
use super::output::Printer;
use super::{args, commands, keys, replay};

/// Reads the arguments, does what they say and answers with the exit code.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // The help may go into a pipe that is closed.
            let _ = error.print();
            return exit.into();
        }
    };
    let mut printer = Printer::new(cli.json);
    match run(cli, &mut printer).await {
        Ok(exit) => exit.into(),
        Err(failure) => {
            printer.note(&format!("wxpayctl: {failure}"));
            failure.exit.into()
        }
    }
}

async fn run(cli: Cli, out: &mut Printer) -> Result<Exit, Failure> {
    match cli.command {
        Command::Keys { command } => keys::run(command, || Api::open(&cli.url, cli.key_file.as_deref()), out).await,
        Command::Completions { shell } => {
            args::completions(shell, out)?;
            Ok(Exit::Ok)
        }
        Command::Health => commands::health(&Api::without_key(&cli.url)?, out).await,
        Command::Replay { command } => replay::run(&Api::open(&cli.url, cli.key_file.as_deref())?, command, out).await,
        other => commands::run(&Api::open(&cli.url, cli.key_file.as_deref())?, other, out).await,
    }
}
