"""Reads pay events over HTTP, each once, in their order: a reader that may be killed at any time.

    WXPAY_URL=http://127.0.0.1:8080 WXPAY_KEY_FILE=api_key CURSOR=cursor JOURNAL=events.jsonl python3 feed.py

WXPAY_KEY_FILE is a file with an API key that has the scope finance. CURSOR is where the reader keeps how far it has
read: `next` of the last page that it has worked off. JOURNAL stands for your database (journal.py), which is the better
place for the cursor, too.

A kill between the events of a page and its cursor brings the page again, and the ids tell. Any error ends the program,
so that its supervisor starts it again; nothing is skipped. An answer of 410 says that the cursor is not of this feed
any more: docs/problems.md says what to do then.
"""

import json
import os
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from journal import Journal


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def write(path, text):
    """The old text or the new one, whenever this is killed."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def page(after):
    query = {"limit": 100, "wait": 20, **({"after": after} if after else {})}
    headers = {"Authorization": "Bearer " + read(os.environ["WXPAY_KEY_FILE"])}
    request = Request(f"{os.environ['WXPAY_URL']}/v1/events?{urlencode(query)}", headers=headers)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def main():
    journal = Journal(os.environ["JOURNAL"])
    cursor = read(os.environ["CURSOR"])
    while True:
        got = page(cursor)
        for event in got["events"]:
            journal.record(event)
        if got["next"] != cursor:
            cursor = got["next"]
            write(os.environ["CURSOR"], cursor)


main()
