"""Makes the durable consumer of a subscriber on PAY_EVENTS, or changes it. Run by the admin, once for each subscriber.

    NATS_URL_FILE=nats_url_admin python3 make_durable.py finance
    NATS_URL_FILE=nats_url_admin python3 make_durable.py billing --filter 'pay.event.*.order.paid'

One event is on its way at a time (max_ack_pending), so that events of an order cannot overtake each other, even when
the subscriber is killed. Other subscribers, and filters by merchant, are independent of each other.
"""

import argparse
import asyncio
import os

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

parser = argparse.ArgumentParser()
parser.add_argument("name", help="of the subscriber's user and of its consumer")
parser.add_argument("--filter", default="pay.event.>", help="which subjects it reads")
parser.add_argument("--ack-wait", type=float, default=30.0, help="seconds until what a dead process had comes again")


async def main(options):
    with open(os.environ["NATS_URL_FILE"], encoding="utf-8") as file:
        url = file.read().strip()
    connection = await nats.connect(url, inbox_prefix="_INBOX_admin", allow_reconnect=False)
    config = ConsumerConfig(
        durable_name=options.name,
        filter_subject=options.filter,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=options.ack_wait,
        max_ack_pending=1,
    )
    await connection.jetstream().add_consumer("PAY_EVENTS", config)
    await connection.close()


asyncio.run(main(parser.parse_args()))
