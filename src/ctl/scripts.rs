//! What the command line says of itself: completions for a shell, manual pages.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::exit::{Exit, Failure};
use super::output::Printer;

const NAME: &str = "wxpayctl";

/// Prints the script of a shell.
pub fn completions(shell: Shell, out: &mut Printer) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    out.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Ok)
}

/// Prints the manual page, or writes those of all commands into a folder.
pub fn man(to: Option<&Path>, out: &mut Printer) -> Result<Exit, Failure> {
    if let Some(folder) = to {
        clap_mangen::generate_to(Cli::command(), folder)?;
        out.note(&format!("written to {}: man -l {}/{NAME}.1", folder.display(), folder.display()));
        return Ok(Exit::Ok);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    out.line(String::from_utf8_lossy(&page).trim_end())?;
    Ok(Exit::Ok)
}
