"""Writes a fixture: what a version of the service leaves behind when it is killed in the middle of everything.

    python3 write_fixture.py BINS OUT embedded
    python3 write_fixture.py BINS OUT nats POSTGRES NATS_SERVER

BINS has `wxpayd` and `wxpay-sandbox` of that version, with crash points.
tests/upgrade/write-fixture.sh calls this with everything it needs.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from highway import hash64
from service import SESSION_KEY, Stage, free_port, until
from states import Journey

# Messages of a stream expire by the server's clock, a week after they came. Those of the fixture never do.
FAR_AHEAD_NS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 10**9


def write(stage, out, stop_bus):
    stage.start_wechat()
    service = stage.start()
    journey = Journey(stage)
    journey.early()
    sealed = "SELECT 1 FROM platform_tokens WHERE sealed IS NOT NULL"
    until("three tokens", lambda: len(stage.sql(sealed)) == 3)
    tokens = journey.tokens()
    journey.closable()
    journey.sent_back()
    journey.late()
    stage.kill(service)
    journey.in_flight()
    journey.queued()
    now_ms = time.time_ns() // 10**6
    truth = stage.tell("ledger", None, "GET")
    stage.kill(stage.simulator)
    stop_bus()
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(stage.folder / "wechat.jsonl", out)
    manifest = {
        "written_at_ms": now_ms,
        "base": stage.base,
        "session_key": SESSION_KEY,
        "cookies": journey.cookies,
        "tokens": tokens,
        "feed": journey.feed,
        "orders": journey.orders,
        "requests": journey.requests,
        "number_taken": journey.number_taken,
        "payments": len(truth["payments"]),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")


def packed(path, files):
    """A tar whose bytes depend on nothing but the files: `files` are (name, path)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, file in sorted(files):
            info = tarfile.TarInfo(name)
            info.size, info.mode = file.stat().st_size, 0o644
            tar.addfile(info, file.open("rb"))
    path.write_bytes(gzip.compress(buffer.getvalue(), 9, mtime=0))


def embedded(bins, out):
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "wxpay.db")
        with contextlib.closing(Stage(folder, bins, f"sqlite://{database}")) as stage:
            write(stage, out, lambda: None)
        # As the crash left it: the database and the write-ahead log beside it.
        packed(out / "wxpay.db.tar.gz", [(p.name, p) for p in Path(folder).glob("wxpay.db*") if p.suffix != ".db-shm"])


def nats(bins, out, postgres, nats_server):
    with tempfile.TemporaryDirectory() as folder:
        name = f"wxpay_fixture_{os.getpid()}"
        server, tools = postgres.rsplit("/", 1)[0], os.environ["PG_BIN"]
        subprocess.run([f"{tools}/psql", "--quiet", "--command", f"CREATE DATABASE {name}", postgres], check=True)
        store, port, monitoring = Path(folder, "nats"), free_port(), free_port()
        conf = Path(folder, "nats.conf")
        conf.write_text(
            f'host: 127.0.0.1\nport: {port}\nhttp: "127.0.0.1:{monitoring}"\n'
            f'jetstream {{ store_dir: "{store}", sync_interval: always }}\n'
        )
        log = open(Path(folder, "nats.log"), "wb")
        bus = subprocess.Popen([nats_server, "-c", conf], stdout=log, stderr=log)

        def stop_bus():
            # It writes down what was acknowledged a moment later.
            time.sleep(2)
            Stage.kill(bus)

        try:
            monitor = f"http://127.0.0.1:{monitoring}"
            stage = Stage(Path(folder, "stage"), bins, f"{server}/{name}", f"nats://127.0.0.1:{port}", [monitor])
            until("nats-server", lambda: stage.answers(monitor + "/healthz"))
            with contextlib.closing(stage):
                write(stage, out, stop_bus)
            dump = [f"{tools}/pg_dump", "--no-owner", "--no-privileges", "--rows-per-insert=100", f"{server}/{name}"]
            sql = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
            # Lines for psql alone, and comments.
            kept = [line for line in sql.splitlines() if line and not re.match(r"\\|--", line)]
            Path(out, "wxpay.sql").write_text("\n".join(kept) + "\n")
        finally:
            Stage.kill(bus)
            drop = f"DROP DATABASE {name} WITH (FORCE)"
            subprocess.run([f"{tools}/psql", "--quiet", "--command", drop, postgres], check=True)
        for stream in store.glob("jetstream/$G/streams/*"):
            # It is made anew from the blocks.
            Path(stream, "msgs", "index.db").unlink(missing_ok=True)
            for block in Path(stream, "msgs").glob("*.blk"):
                never_expire(block, stream.name)
        files = [(str(p.relative_to(store)), p) for p in store.rglob("*") if p.is_file()]
        packed(out / "nats.tar.gz", files)


def never_expire(block, stream):
    """Dates the messages of a block of a NATS store far ahead.

    A record is: length and whether it has headers, sequence, time, the subject's length; subject; headers' length,
    headers; payload; checksum of all that from the sequence on.
    """
    data, at = bytearray(block.read_bytes()), 0
    key = hashlib.sha256(f"{stream}-{block.stem}".encode()).digest()
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        with_headers, length = length >> 31, length & 0x7FFFFFFF
        subject_end = at + 22 + int.from_bytes(data[at + 20 : at + 22], "little")
        body = subject_end + 4 * with_headers

        def checksum():
            parts = data[at + 4 : at + 20] + data[at + 22 : subject_end] + data[body : at + length - 8]
            return hash64(key, bytes(parts))

        assert data[at + length - 8 : at + length] == checksum(), f"{block} has another format at {at}"
        sequence = int.from_bytes(data[at + 4 : at + 12], "little")
        data[at + 12 : at + 20] = (FAR_AHEAD_NS + sequence * 10**6).to_bytes(8, "little")
        data[at + length - 8 : at + length] = checksum()
        at += length
    block.write_bytes(data)


if __name__ == "__main__":
    if sys.argv[3:4] == ["embedded"]:
        embedded(Path(sys.argv[1]), Path(sys.argv[2], "embedded"))
    else:
        nats(Path(sys.argv[1]), Path(sys.argv[2], "nats"), *sys.argv[4:])
