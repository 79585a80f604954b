// Reads pay events from NATS, each once, in the order of each order: a durable consumer that may be killed at any time.
//
//     NATS_URL_FILE=nats_url_finance JOURNAL=events.jsonl node consumer.js
//
// NATS_URL_FILE is a file with the subscriber's address, as deploy/make-secrets.sh writes it; the durable consumer has
// the name of the user in it, and the admin made it before. JOURNAL stands for your database: an event and what you do
// about it belong in one transaction there, with a unique index on the event's id.
//
// Delivery is at least once: a kill between the write and the acknowledgement brings the event again, and its id tells.
// Any error ends the program, so that its supervisor starts it again; nothing is skipped.

import { fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";

import { connect } from "nats";

// One event per line, on the disk before it is acknowledged.
class Journal {
  constructor(path) {
    this.file = openSync(path, "a+");
    const bytes = readFileSync(path);
    // A kill in the middle of a write leaves a piece of a line, which was not acknowledged.
    const whole = bytes.lastIndexOf("\n") + 1;
    ftruncateSync(this.file, whole);
    const lines = bytes.subarray(0, whole).toString("utf8").split("\n").filter((line) => line !== "");
    this.ids = new Set(lines.map((line) => JSON.parse(line).id));
  }

  record(event) {
    if (this.ids.has(event.id)) return;
    const line = Buffer.from(`${JSON.stringify(event)}\n`);
    for (let written = 0; written < line.length; ) {
      written += writeSync(this.file, line, written);
    }
    fsyncSync(this.file);
    this.ids.add(event.id);
  }
}

const url = new URL(readFileSync(process.env.NATS_URL_FILE, "utf8").trim());
const name = decodeURIComponent(url.username);
const journal = new Journal(process.env.JOURNAL);
const connection = await connect({
  servers: url.host,
  user: name,
  pass: decodeURIComponent(url.password),
  name,
  // The subscriber may listen to no other inboxes than those of its own.
  inboxPrefix: `_INBOX_${name}`,
  maxReconnectAttempts: -1,
});
const consumer = await connection.jetstream().consumers.get("PAY_EVENTS", name);
for (;;) {
  const message = await consumer.next({ expires: 30_000 });
  if (message === null) continue;
  journal.record(message.json());
  if (!(await message.ackAck())) throw new Error("the acknowledgement was not confirmed");
}
