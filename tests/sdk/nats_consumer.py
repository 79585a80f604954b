"""Reads pay events the way a finance service would: a durable pull consumer on PAY_EVENTS, explicit acknowledgement.

It is a client of other people's making (nats-py), so it proves that the subjects, headers and payloads can be read without any
code of ours. Each event becomes one JSON line on standard output, flushed before the event is acknowledged:

    {"subject": "pay.event.main.order.paid", "id": "<Nats-Msg-Id>", "seq": 7, "delivered": 1, "data": {...}}

Exit status: 0 when COUNT events were read, 3 when TIMEOUT seconds passed first, 1 when an event was not JSON or NATS failed.
"""

import argparse
import asyncio
import json
import sys
import time

import nats
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError


def arguments():
    parser = argparse.ArgumentParser(description="Prints events of a JetStream stream as JSON lines.")
    parser.add_argument("--url", required=True, help="nats://host:port")
    parser.add_argument("--stream", default="PAY_EVENTS")
    parser.add_argument("--durable", default="finance", help="name under which the server keeps the position")
    parser.add_argument("--filter", default="pay.event.>", help="subjects to read")
    parser.add_argument("--count", type=int, required=True, help="end after this many events")
    parser.add_argument("--timeout", type=float, default=30.0, help="end after this many seconds")
    parser.add_argument("--ack-wait", type=float, default=10.0, help="seconds before an event without ack is sent again")
    parser.add_argument("--no-ack", action="store_true", help="leave the events unacknowledged, as a consumer that dies would")
    return parser.parse_args()


async def stream_ready(jetstream, name, deadline):
    """The service creates the stream at its first start; a consumer may be quicker."""
    while True:
        try:
            return await jetstream.stream_info(name)
        except NotFoundError:
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(0.05)


async def read(options, deadline):
    connection = await nats.connect(options.url, connect_timeout=5, max_reconnect_attempts=-1, reconnect_time_wait=0.2)
    seen = 0
    try:
        jetstream = connection.jetstream()
        await stream_ready(jetstream, options.stream, deadline)
        # Binds when a consumer of this name and configuration exists, creates it otherwise.
        await jetstream.add_consumer(
            options.stream,
            ConsumerConfig(
                durable_name=options.durable,
                filter_subject=options.filter,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=options.ack_wait,
            ),
        )
        subscription = await jetstream.pull_subscribe_bind(options.durable, stream=options.stream)
        while seen < options.count:
            left = deadline - time.monotonic()
            if left <= 0:
                return seen
            try:
                messages = await subscription.fetch(min(100, options.count - seen), timeout=min(left, 5))
            except NatsTimeout:
                continue
            for message in messages:
                line = {
                    "subject": message.subject,
                    "id": (message.headers or {}).get("Nats-Msg-Id"),
                    "seq": message.metadata.sequence.stream,
                    "delivered": message.metadata.num_delivered,
                    "data": json.loads(message.data),
                }
                print(json.dumps(line, ensure_ascii=False), flush=True)
                if not options.no_ack:
                    await message.ack_sync(timeout=5)
                seen += 1
        return seen
    finally:
        await connection.close()


def main():
    options = arguments()
    seen = asyncio.run(read(options, time.monotonic() + options.timeout))
    return 0 if seen >= options.count else 3


if __name__ == "__main__":
    sys.exit(main())
