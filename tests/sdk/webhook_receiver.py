"""A receiver of webhooks that verifies with the PyPI package standardwebhooks and may be killed at any time.

    PORT=8090 SECRET_FILE=secret JOURNAL=events.jsonl python3 webhook_receiver.py

It keeps each event once, by its id, on the disk before it answers. The first one that it keeps after a start it does
not answer, as if it had been killed in between: that comes again, and its id tells.
"""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks import Webhook, WebhookVerificationError

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/consumers/python"))

from journal import Journal

journal = Journal(os.environ["JOURNAL"])
webhook = Webhook(Path(os.environ["SECRET_FILE"]).read_text().strip())
lock = threading.Lock()
has_begun = threading.Event()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        try:
            event = webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError as error:
            print("refused:", error, file=sys.stderr, flush=True)
            return self.answer(400)
        with lock:
            is_new = journal.record(event)
            if is_new and not has_begun.is_set():
                has_begun.set()
                self.close_connection = True
                return None
        return self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
