//! Reads pay events from NATS, each once, in the order of each order: a durable consumer that may be killed at any
//! time.
//!
//! ```text
//! NATS_URL_FILE=nats_url_finance JOURNAL=events.jsonl cargo run --example consumer
//! ```
//!
//! `NATS_URL_FILE` is a file with the subscriber's address, as `deploy/make-secrets.sh` writes it; the durable consumer
//! has the name of the user in it, and the admin made it before. `JOURNAL` stands for your database: an event and what
//! you do about it belong in one transaction there, with a unique index on the event's id.
//!
//! Delivery is at least once: a kill between the write and the acknowledgement brings the event again, and its id
//! tells. Any error ends the program, so that its supervisor starts it again; nothing is skipped.

use std::collections::HashSet;
use std::env::var_os;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{ConnectOptions, ServerAddr};
use futures_util::StreamExt;
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One event per line, on the disk before it is acknowledged.
struct Journal {
    file: File,
    ids: HashSet<String>,
}

/// Of an event, what recognises it.
#[derive(Deserialize)]
struct Event {
    id: String,
}

impl Journal {
    fn open(path: OsString) -> Outcome<Journal> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let (mut ids, mut whole, mut reader) = (HashSet::new(), 0, BufReader::new(&file));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            ids.insert(serde_json::from_slice::<Event>(&line)?.id);
            whole += u64::try_from(line.len())?;
            line.clear();
        }
        // A kill in the middle of a write leaves a piece of a line, which was not acknowledged.
        file.set_len(whole)?;
        Ok(Journal { file, ids })
    }

    fn record(&mut self, payload: &[u8]) -> Outcome<()> {
        let Event { id } = serde_json::from_slice(payload)?;
        if self.ids.contains(&id) {
            return Ok(());
        }
        // The service writes an event in one line.
        self.file.write_all(&[payload, b"\n"].concat())?;
        self.file.sync_data()?;
        self.ids.insert(id);
        Ok(())
    }
}

fn setting(name: &str) -> Outcome<OsString> {
    var_os(name).ok_or_else(|| format!("{name} is not set").into())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let server: ServerAddr = std::fs::read_to_string(setting("NATS_URL_FILE")?)?.trim().parse()?;
    let (Some(name), Some(password)) = (server.username(), server.password()) else {
        return Err("the address names no user with a password".into());
    };
    let (name, password) = (name.to_owned(), password.to_owned());
    let mut journal = Journal::open(setting("JOURNAL")?)?;
    // The subscriber may listen to no other inboxes than those of its own.
    let options = ConnectOptions::with_user_and_password(name.clone(), password);
    let client = options.name(&name).custom_inbox_prefix(format!("_INBOX_{name}")).connect(server).await?;
    let consumer: PullConsumer = jetstream::new(client).get_consumer_from_stream(&name, "PAY_EVENTS").await?;
    loop {
        let mut messages = consumer.batch().max_messages(1).expires(Duration::from_secs(30)).messages().await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            journal.record(&message.payload)?;
            message.double_ack().await?;
        }
    }
}
