//! From the arguments to the exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use futures_util::future::LocalBoxFuture;

use super::args::{Cli, Command};
use super::client::Api;
use super::exit::{Exit, Failure};
use super::output::Printer;
use super::{approvals, bus, commands, doctor, finance, keys, payers, replay, scripts, trigger, webhooks};

/// Reads the arguments, does what they say and answers with the exit code.
// Boxed: what a program awaits is then compiled with this crate, and not once more with each program.
pub fn main() -> LocalBoxFuture<'static, ExitCode> {
    Box::pin(exit_code())
}

async fn exit_code() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let named = matches.value_source("url").is_some_and(|source| source != ValueSource::DefaultValue);
        Ok((Cli::from_arg_matches(&matches)?, named))
    });
    let (cli, has_url) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // The help may go into a pipe that is closed.
            let _ = error.print();
            return exit.into();
        }
    };
    let mut printer = Printer::new(cli.json);
    match run(cli, has_url, &mut printer).await {
        Ok(exit) => exit.into(),
        Err(failure) => {
            printer.note(&format!("wxpayctl: {failure}"));
            failure.exit.into()
        }
    }
}

/// `has_url`: whether the service's address was given, and is not the default.
async fn run(cli: Cli, has_url: bool, out: &mut Printer) -> Result<Exit, Failure> {
    let open = || Api::open(&cli.url, cli.key_file.as_deref());
    // On the heap: of futures within each other the optimising compiler computes the layout up to a limited depth.
    match cli.command {
        Command::Keys { command } => Box::pin(keys::run(command, open, out)).await,
        Command::Completions { shell } => scripts::completions(shell, out),
        Command::Man { to } => scripts::man(to.as_deref(), out),
        Command::Doctor { config, timeout, books } => {
            let url = has_url.then_some(cli.url);
            let limit = Duration::from_secs(timeout);
            let request = doctor::Request { file: config, url, key_file: cli.key_file, limit, books };
            Box::pin(doctor::run(request, out)).await
        }
        Command::Health => commands::health(&Api::without_key(&cli.url)?, out).await,
        Command::Replay(replay) => Box::pin(replay::run(&open()?, *replay, out)).await,
        Command::Ledger(args) => Box::pin(finance::ledger(&open()?, *args, out)).await,
        Command::Balances(between) => Box::pin(finance::balances(&open()?, between, out)).await,
        Command::Reconcile { command } => Box::pin(finance::reconcile(&open()?, *command, out)).await,
        Command::Periods { command } => Box::pin(finance::periods(&open()?, command, out)).await,
        Command::Webhooks { command } => Box::pin(webhooks::run(&open()?, command, out)).await,
        Command::Trigger(args) => Box::pin(trigger::run(&open()?, *args, out)).await,
        Command::Approvals { command } => Box::pin(approvals::run(&open()?, command, out)).await,
        Command::Payers { command } => Box::pin(payers::run(&open()?, command, out)).await,
        Command::Bus { command } => Box::pin(bus::run(&open()?, command, out)).await,
        other => Box::pin(commands::run(&open()?, other, out)).await,
    }
}
