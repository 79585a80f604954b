//! Log lines: JSON or text on stderr.
//!
//! Field values come from outside (order numbers, WeChat's texts, addresses). `tracing-subscriber` writes a value
//! recorded with `%` as it is, so a line break in it would forge a second line and an escape sequence would run in the
//! reader's terminal: every control character is written as an escape here, in both formats.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;

use crate::config::Log;

/// Below these levels libraries may log URLs with secrets, SQL or bodies; a filter that names one of them overrides it.
/// The end of a job is an error of the schedule's library at a stop, where nothing awaits it any more.
const QUIET: &str = "async_nats=warn,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,sea_orm=warn,\
                     sea_orm_migration=warn,sqlx=warn,tokio_cron_scheduler=warn,\
                     tokio_cron_scheduler::job::cron_job=off";

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid; the configuration's check refuses it earlier.
    #[error("log.filter must be levels by module, like info,wxpay_worker=debug")]
    Filter,
    /// The process has a subscriber already.
    #[error("logging is already set up")]
    AlreadySet,
}

/// Starts logging to stderr for the whole process; once. Colours only on a terminal and without `NO_COLOR`.
pub fn init(log: &Log) -> Result<(), LogError> {
    let colours = io::stderr().is_terminal() && !crate::config::no_color();
    tracing::subscriber::set_global_default(subscriber(log, colours, io::stderr)?).map_err(|_| LogError::AlreadySet)
}

/// The same for a writer of the caller's choice, not installed.
pub fn subscriber<W>(log: &Log, colours: bool, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.filter)).map_err(|_| LogError::Filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    if log.json {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(JsonLines(writer));
        Ok(Box::new(registry.with(lines)))
    } else {
        let fields = debug_fn(write_field as fn(&mut Writer<'_>, &Field, &dyn fmt::Debug) -> fmt::Result);
        let lines = tracing_subscriber::fmt::layer().fmt_fields(fields.delimited(" ")).with_ansi(colours);
        Ok(Box::new(registry.with(lines.with_writer(writer))))
    }
}

fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut escaped = Escaped(writer);
    match field.name() {
        "message" => write!(escaped, "{value:?}"),
        name => write!(escaped, "{}={value:?}", name.strip_prefix("r#").unwrap_or(name)),
    }
}

struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if acts(c) {
                write!(self.0, "{}", c.escape_default())?;
            } else {
                self.0.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Whether a character is invisible and changes the output: control characters, line and paragraph separators, and the
/// marks that change the direction of text.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON escapes the ASCII control characters itself; the others are legal inside its strings and escaped here.
struct JsonLines<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for JsonLines<W> {
    type Writer = JsonLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        JsonLine(self.0.make_writer())
    }

    fn make_writer_for(&'w self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        JsonLine(self.0.make_writer_for(meta))
    }
}

struct JsonLine<W>(W);

impl<W: io::Write> io::Write for JsonLine<W> {
    /// A whole line comes in one call, so characters are never cut.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut escaped = String::with_capacity(line.len());
        for c in String::from_utf8_lossy(line).chars() {
            if acts(c) && c != '\n' {
                // Escaped characters are all in the basic plane: one unit each.
                write!(escaped, "\\u{:04x}", u32::from(c)).map_err(io::Error::other)?;
            } else {
                escaped.push(c);
            }
        }
        self.0.write_all(escaped.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
