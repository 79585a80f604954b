"""Reads pay events from NATS, each once, in the order of each order: a durable consumer that may be killed at any time.

    NATS_URL_FILE=nats_url_finance JOURNAL=events.jsonl python3 consumer.py

NATS_URL_FILE is a file with the subscriber's address, as deploy/make-secrets.sh writes it; the durable consumer has the
name of the user in it, and the admin made it before (make_durable.py). JOURNAL stands for your database (journal.py).

Delivery is at least once: a kill between the write and the acknowledgement brings the event again, and its id tells.
Any error ends the program, so that its supervisor starts it again; nothing is skipped.
"""

import asyncio
import json
import os
from urllib.parse import urlsplit

import nats
from nats.errors import TimeoutError as NothingCame

from journal import Journal


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
