//! `wxpayd`: the service, its demo, its schema and its configuration check.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wxpay_worker::app::{App, Roles};
use wxpay_worker::clock::Clock;
use wxpay_worker::config::{CHANGE_ME, Config, process_env};
use wxpay_worker::http::Listeners;
use wxpay_worker::init;
use wxpay_worker::init::Kind;
use wxpay_worker::ops;
use wxpay_worker::store::{Access, Db, PackedTable, Role, Store, backup};
use wxpay_worker::wechat::certificate;
use wxpay_worker::{demo, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An event-driven WeChat Pay worker: orders, verified notifications, exactly one settlement.
#[derive(Parser)]
#[command(name = "wxpayd", version)]
struct Cli {
    /// Configuration file (TOML). Every key can also be set by environment: WXPAY__SERVER__LISTEN=…
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One payment from end to end on embedded defaults, each step printed; then keeps serving.
    Demo(demo::Options),
    /// Runs the service.
    Run {
        /// Run only these roles: a list of ingress, worker, relay, scheduler.
        #[arg(long, value_name = "ROLES", value_parser = Roles::parse)]
        only: Option<Roles>,
    },
    /// Brings the database to the newest schema.
    Migrate,
    /// Copies the SQLite database into a folder of its own within FOLDER, while the service runs: readable by this user
    /// alone, read as a whole, and on the disk before it gets its name.
    Backup {
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Prints every problem and warning of the configuration, and the effective values with secrets masked.
    CheckConfig {
        /// Ends with status 1 if there is a warning, too.
        #[arg(long)]
        strict: bool,
    },
    /// Writes a complete configuration, explained, with fresh secrets in files beside it, and prints the API key of the
    /// shop's server, once: to standard output, where nothing else goes. The file is --config, or wxpay.toml.
    Init {
        /// sandbox, wechat, nats-postgres: on which database and queue, and whether beside the simulator.
        #[arg(value_parser = kind, default_value = "sandbox")]
        kind: Kind,
        /// Writes where files are already: these are kept beside the new ones, under names with the time.
        #[arg(long)]
        force: bool,
    },
    /// Prints such a configuration, with CHANGE-ME for the hash of the API key.
    ConfigExample {
        /// sandbox, wechat, nats-postgres
        #[arg(value_parser = kind, default_value = "sandbox")]
        kind: Kind,
    },
    /// The feed of events that GET /v1/events reads.
    Feed {
        #[command(subcommand)]
        command: FeedCommand,
    },
    /// Users of the operators' console.
    Console {
        #[command(subcommand)]
        command: ConsoleCommand,
    },
    /// Evidence of versions that wrote openids into it.
    Evidence {
        #[command(subcommand)]
        command: EvidenceCommand,
    },
    /// Rows that store.compact had written packed.
    Stored {
        #[command(subcommand)]
        command: StoredCommand,
    },
}

#[derive(Subcommand)]
enum FeedCommand {
    /// After a restore that cursors cannot see: all cursors given out before answer 410.
    NewEpoch,
}

#[derive(Subcommand)]
enum ConsoleCommand {
    /// Prints a link, good once for 15 minutes, at which a new user sets its password, or one that exists another.
    AddUser {
        /// Up to 64 letters, digits and . _ - @
        #[arg(value_parser = user_name)]
        name: String,
        /// viewer, operator, admin; a user that exists keeps its own.
        #[arg(long, value_parser = role)]
        role: Role,
        /// A merchant that the user sees; repeat it for several. Without it, the user sees all.
        #[arg(long = "merchant", value_name = "KEY")]
        merchants: Vec<String>,
    },
}

#[derive(Subcommand)]
enum EvidenceCommand {
    /// Puts the payers' names in the place of their openids, as the owner of the tables. May be repeated.
    HidePayers {
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Subcommand)]
enum StoredCommand {
    /// Reads every packed row and lists those that cannot be read; ends with status 1 if there are any.
    Check,
    /// Prints what a row says, packed or not: an event, a fact, a notification's headers and body, an order's content.
    Show {
        /// outbox, evidence, refund_evidence, notifications, orders
        #[arg(value_parser = packed_table)]
        table: PackedTable,
        /// The row's id; of a notification, its event_id.
        id: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Demo(options) => demo::run(options, stop_on_signal()).await,
        Command::Run { only } => run(cli.config.as_deref(), only.unwrap_or(Roles::ALL)).await,
        Command::Migrate => migrate(cli.config.as_deref()).await,
        Command::Backup { folder } => back_up(cli.config.as_deref(), &folder),
        Command::CheckConfig { strict } => check_config(cli.config.as_deref(), strict),
        Command::Init { kind, force } => write_configuration(cli.config.as_deref(), kind, force),
        Command::ConfigExample { kind } => {
            print!("{}", init::example(kind));
            Ok(())
        }
        Command::Feed { command: FeedCommand::NewEpoch } => new_feed_epoch(cli.config.as_deref()).await,
        Command::Console { command } => console(cli.config.as_deref(), command).await,
        Command::Evidence { command: EvidenceCommand::HidePayers { reason } } => {
            hide_payers(cli.config.as_deref(), reason).await
        }
        Command::Stored { command } => stored(cli.config.as_deref(), command).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wxpayd: {}", telemetry::error_text(e.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(file: Option<&Path>, roles: Roles) -> anyhow::Result<()> {
    let config = Config::load(file, process_env(), certificate::check)?;
    telemetry::init(&config.log)?;
    let stop = stop_on_signal();
    let listeners = Listeners::bind(&config, roles.ingress).await?;
    let address = listeners.api.as_ref().and_then(|l| l.local_addr().ok());
    let notify_address = listeners.notify.as_ref().and_then(|l| l.local_addr().ok());
    // Before the roles run: a signal that comes early must not end the process.
    let mut hangups = signal(SignalKind::hangup())?;
    let app = App::open(config, Clock::system()).await?;
    let reloader = app.reloader();
    let file = file.map(Path::to_owned);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reloader.reload(file.as_deref(), process_env());
        }
    });
    match (address, notify_address) {
        (Some(address), Some(notify_address)) => tracing::info!(%roles, %address, %notify_address, "running"),
        (Some(address), None) => tracing::info!(%roles, %address, "running"),
        (None, _) => tracing::info!(%roles, "running"),
    }
    app.run(roles, listeners, stop).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn migrate(file: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(file, process_env(), certificate::check)?;
    let changed = Db::connect(&config.store).await?.migrate().await?;
    println!("{}", if changed { "the schema is up to date now" } else { "the schema was up to date" });
    Ok(())
}

fn back_up(file: Option<&Path>, folder: &Path) -> anyhow::Result<()> {
    let config = Config::load(file, process_env(), certificate::check)?;
    let database = config.store.sqlite_file();
    let database = database.ok_or_else(|| anyhow::anyhow!("store.url is PostgreSQL: use pg_dump or its archive"))?;
    // Before the database: what a log lacks by then is settled in the copy.
    let logs = config.server.intake.folder(&database);
    let made = backup(&database, &[logs], folder, Clock::system().now())?;
    let (schema, position) = (&made.contents.schema, made.contents.feed_position);
    println!("{}", made.folder.display());
    eprintln!(
        "{} bytes, schema {schema}, the feed up to position {position}; to restore it: docs/backups.md",
        made.bytes
    );
    Ok(())
}

async fn new_feed_epoch(file: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(file, process_env(), certificate::check)?;
    let epoch = Store::open(&config.store).await?.new_feed_epoch().await?;
    println!("the feed is in epoch {epoch} now: cursors given out before answer 410");
    Ok(())
}

fn user_name(text: &str) -> Result<String, String> {
    let name = ops::users::parse_name(text).map(str::to_owned);
    name.ok_or_else(|| "at most 64 letters, digits and . _ - @".to_owned())
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "viewer, operator or admin".to_owned())
}

async fn console(file: Option<&Path>, command: ConsoleCommand) -> anyhow::Result<()> {
    let ConsoleCommand::AddUser { name, role, merchants } = command;
    let config = Config::load(file, process_env(), certificate::check)?;
    let known = |key: &String| {
        let merchant = config.merchant(key).map(|merchant| merchant.key.clone());
        merchant.ok_or_else(|| anyhow::anyhow!("no merchant has the key {key}"))
    };
    let merchants = merchants.iter().map(known).collect::<anyhow::Result<Vec<_>>>()?;
    let access = Access::of(role, Some(merchants).filter(|merchants| !merchants.is_empty()));
    let store = Store::open(&config.store).await?;
    let now = store.db().now().await?;
    let invited = ops::users::invite(&store, &ops::users::local_operator(), None, (&name, access), now).await?;
    println!("{}", ops::users::invitation_link(&config, &invited.token));
    eprintln!("{name} sets a password there; the link is good once, until {}", invited.expires_at);
    if !config.console.enabled {
        eprintln!("the console is off: set [console] enabled = true and restart the service");
    }
    Ok(())
}

fn packed_table(text: &str) -> Result<PackedTable, String> {
    let known = || PackedTable::ALL.iter().map(|table| table.as_str()).collect::<Vec<_>>().join(", ");
    PackedTable::parse(text).ok_or_else(|| format!("one of {}", known()))
}

async fn stored(file: Option<&Path>, command: StoredCommand) -> anyhow::Result<()> {
    let config = Config::load(file, process_env(), certificate::check)?;
    let store = Store::open(&config.store).await?;
    match command {
        StoredCommand::Show { table, id } => {
            let text = store.stored_text(table, &id).await?;
            let text = text.ok_or_else(|| anyhow::anyhow!("{} has no row {id}", table.as_str()))?;
            std::io::stdout().write_all(&text)?;
            println!();
        }
        StoredCommand::Check => {
            let mut count = 0;
            for &table in PackedTable::ALL {
                for row in store.unreadable_rows(table).await? {
                    println!("{} {}: {}", table.as_str(), row.id, row.why);
                    count += 1;
                }
            }
            anyhow::ensure!(count == 0, "{count} packed rows cannot be read");
            println!("every packed row can be read");
        }
    }
    Ok(())
}

async fn hide_payers(file: Option<&Path>, reason: String) -> anyhow::Result<()> {
    let config = Config::load(file, process_env(), certificate::check)?;
    let store = Store::open(&config.store.of_owner()).await?;
    let (read, changed) = ops::erasures::hide_payers(&store, &ops::users::local_operator(), reason).await?;
    println!("{changed} of {read} rows of evidence had an openid, and have the payer's name now");
    Ok(())
}

fn check_config(file: Option<&Path>, strict: bool) -> anyhow::Result<()> {
    let config = Config::load(file, process_env(), certificate::check)?;
    print!("{}", config.explain());
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    config.check_runnable()?;
    let count = config.warnings.len();
    anyhow::ensure!(!strict || count == 0, "{count} warnings, and --strict takes none");
    Ok(())
}

fn kind(text: &str) -> Result<Kind, String> {
    let known = || Kind::ALL.iter().map(|kind| format!("{} ({})", kind.as_str(), kind.described())).collect::<Vec<_>>();
    Kind::parse(text).ok_or_else(|| format!("one of {}", known().join("; ")))
}

fn write_configuration(file: Option<&Path>, kind: Kind, force: bool) -> anyhow::Result<()> {
    let file = file.unwrap_or(Path::new("wxpay.toml"));
    let written = init::write(kind, file, force, Clock::system().now())?;
    for (before, now) in &written.kept {
        eprintln!("kept {} as {}", before.display(), now.display());
    }
    for path in &written.left {
        eprintln!("removed {}, which an init that was interrupted had left", path.display());
    }
    for path in &written.files {
        eprintln!("wrote {}", path.display());
    }
    let file = file.display();
    match kind {
        Kind::Sandbox => eprintln!("next: wxpay-sandbox --config {file}, and beside it wxpayd run --config {file}"),
        Kind::Wechat => {}
        Kind::NatsPostgres => eprintln!(
            "next: make the roles of PostgreSQL with deploy/postgres/roles.sh secrets/store_url secrets/migrate_url, \
             and include secrets/nats_auth in the configuration of nats-server"
        ),
    }
    if kind != Kind::Sandbox {
        eprintln!("next: put the real values in place of {CHANGE_ME}: wxpayd check-config --config {file} names them");
    }
    eprintln!("the API key of shop-backend, which is not shown again:");
    println!("{}", written.api_key);
    Ok(())
}

/// Cancelled by the first SIGTERM or Ctrl-C; the second one ends the process at once.
fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::spawn(async move {
        let Ok(mut term) = signal(SignalKind::terminate()) else { return };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = term.recv() => {}
        }
        on_signal.cancel();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = term.recv() => {}
        }
        std::process::exit(130);
    });
    stop
}
