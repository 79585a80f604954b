"""A file of events that a kill at any time leaves usable. It stands for your database: an event and what you do about
it belong in one transaction there, with a unique index on the event's id."""

import json
import os


class Journal:
    """One event per line, each once, on the disk before `record` returns."""

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
        """Answers whether it was new."""
        if event["id"] in self.ids:
            return False
        self.file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.ids.add(event["id"])
        return True
