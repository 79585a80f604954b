"""Reads pay events from NATS, each once, in the order of each order: a durable consumer that may be killed at any time.

    NATS_URL_FILE=nats_url_finance JOURNAL=events.jsonl python3 consumer.py

NATS_URL_FILE is a file with the subscriber's address, as deploy/make-secrets.sh writes it; the durable consumer has the
name of the user in it, and the admin made it before (make_durable.py). JOURNAL stands for your database: an event and
what you do about it belong in one transaction there, with a unique index on the event's id.

Delivery is at least once: a kill between the write and the acknowledgement brings the event again, and its id tells.
Any error ends the program, so that its supervisor starts it again; nothing is skipped.
"""

import asyncio
import json
import os
from urllib.parse import urlsplit

import nats
from nats.errors import TimeoutError as NothingCame


class Journal:
    """One event per line, on the disk before it is acknowledged."""

    def __init__(self, path):
        self.file = open(path, "a+b")
        self.file.seek(0)
        self.ids, whole = set(), 0
        for line in self.file:
            # A kill in the middle of a write leaves a piece of a line, which was not acknowledged.
            if not line.endswith(b"\n"):
                break
            self.ids.add(json.loads(line)["id"])
            whole += len(line)
        self.file.truncate(whole)

    def record(self, event):
        if event["id"] in self.ids:
            return
        self.file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.ids.add(event["id"])


async def main():
    with open(os.environ["NATS_URL_FILE"], encoding="utf-8") as file:
        url = file.read().strip()
    name = urlsplit(url).username
    journal = Journal(os.environ["JOURNAL"])
    # The subscriber may listen to no other inboxes than those of its own.
    connection = await nats.connect(url, name=name, inbox_prefix=f"_INBOX_{name}", max_reconnect_attempts=-1)
    subscription = await connection.jetstream().pull_subscribe_bind(name, stream="PAY_EVENTS")
    while True:
        try:
            [message] = await subscription.fetch(1, timeout=30)
        except NothingCame:
            continue
        journal.record(json.loads(message.data))
        await message.ack_sync(timeout=10)


asyncio.run(main())
