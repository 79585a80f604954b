"""The PyPI package standardwebhooks, unchanged, over what a service posted: {"secret", "headers", "body"} per line of
stdin. Prints the id of each event that verifies; a tampered copy and another secret must not."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def refused(secret, body, headers):
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return
    raise SystemExit("a forged message verifies")


for line in sys.stdin:
    posted = json.loads(line)
    secret, headers, body = posted["secret"], posted["headers"], posted["body"]
    event = Webhook(secret).verify(body, headers)
    if event["id"] != headers["webhook-id"]:
        raise SystemExit("the ids differ")
    refused(secret, body.replace("main", "mine"), headers)
    refused(OTHER, body, headers)
    refused(secret, body, {**headers, "webhook-id": "another"})
    print(event["id"])
