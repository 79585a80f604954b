"""What a paid order costs on the disk: bytes by table and index.

    target/test-tools/venv/bin/python benches/size/size.py --store sqlite:///tmp/size.db [--orders 100000] [--compact] [--build release]
    …                                                      --store postgres://postgres@127.0.0.1:5432/an_empty_database

Starts the service and the simulator of WeChat, places JSAPI orders over HTTP, each with an Idempotency-Key, pays them by signed
notifications, waits until the outbox is published, stops the service, compacts the database (VACUUM; VACUUM FULL on PostgreSQL) and
prints Markdown. The queue's own tables and the reports of jobs are shown apart: they do not grow with orders that are paid.
"""

import argparse
import collections
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "benches/load"), str(ROOT / "tests")]
import load
from ports import free_port

API_KEY = "size-7f0e5d1c9a3b"
# Rows of these come and go; they do not belong to an order that is paid.
PASSING = ("bus_", "job", "leases", "deferred", "sqlite_", "seaql_", "feed")


def wait_for_port(process, port):
    for _ in range(600):
        if process.poll() is not None:
            break
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("a program did not start")


class Sqlite(load.Sqlite):
    def __init__(self, url):
        super().__init__(url)
        self.path = urllib.parse.urlsplit(url).path

    def sizes(self):
        """Bytes by table and index. Pages are counted as they are, filled or not."""
        self.connection.close()
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        tables = dict(connection.execute("SELECT name, tbl_name FROM sqlite_master"))
        try:
            found = connection.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name").fetchall()
        except sqlite3.OperationalError:
            sql = "SELECT name || '|' || SUM(pgsize) FROM dbstat GROUP BY name"
            text = subprocess.run(["sqlite3", self.path, sql], check=True, capture_output=True, text=True).stdout
            found = [(name, int(size)) for name, size in (line.rsplit("|", 1) for line in text.splitlines())]
        return [(tables.get(name, name), name, size) for name, size in found], os.path.getsize(self.path)


class Postgres(load.Postgres):
    def __init__(self, url):
        super().__init__(url)
        self.url = url

    def query(self, sql):
        done = subprocess.run(["psql", "-qAtX", "-F", "|", self.url, "-c", sql], check=True, capture_output=True, text=True)
        return [line.split("|") for line in done.stdout.splitlines()]

    def sizes(self):
        self.query("VACUUM FULL")
        sql = """SELECT c.relname, c.relname, pg_table_size(c.oid) FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
                 UNION ALL
                 SELECT t.relname, i.relname, pg_relation_size(i.oid) FROM pg_index AS x
                   JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
                 WHERE t.relnamespace = 'public'::regnamespace"""
        found = [(table, name, int(size)) for table, name, size in self.query(sql)]
        return found, sum(size for _, _, size in found)


def report(found, whole, orders):
    by_table = collections.defaultdict(list)
    for table, name, size in found:
        by_table[table].append((name, size))
    rows, passing = [], 0
    for table, parts in by_table.items():
        size = sum(size for _, size in parts)
        if table.startswith(PASSING):
            passing += size
            continue
        own = sum(size for name, size in parts if name == table)
        indexes = ", ".join(f"{name} {size / orders:.0f}" for name, size in sorted(parts, key=lambda part: -part[1]) if name != table)
        rows.append((size, table, own, indexes))
    rows.sort(reverse=True)
    total = sum(row[0] for row in rows)
    print(f"{orders} paid orders: {total / orders:,.0f} bytes each (the whole database {whole / orders:,.0f}, queue and jobs {passing / orders:,.0f})\n")
    print("| table | bytes an order | of it rows | indexes |\n|---|---:|---:|---|")
    for size, table, own, indexes in rows:
        if size / orders >= 1:
            print(f"| {table} | {size / orders:,.0f} | {own / orders:,.0f} | {indexes} |")
    return total / orders


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--build", default="release")
    parser.add_argument("--compact", action="store_true", help="with store.compact = true")
    parser.add_argument("--below", type=float, help="ends with status 1 where an order costs more bytes than this")
    options = parser.parse_args()
    programs = ROOT / "target" / options.build
    running = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            far, port = free_port(), free_port()
            running.append(subprocess.Popen([programs / "wxpay-sandbox", "--listen", f"127.0.0.1:{far}", "--tls-listen", "127.0.0.1:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            wait_for_port(running[0], far)
            more = "compact = true" if options.compact else ""
            config = pathlib.Path(scratch) / "wxpay.toml"
            config.write_text(load.config(port, far, options.store, API_KEY, more_of_store=more, more_of_bus="max_bytes = 8589934592"))
            running.append(subprocess.Popen([programs / "wxpayd", "run", "--config", config]))
            wait_for_port(running[1], port)
            n, prefix = options.orders, "ORDER2026"
            order_headers = lambda i: {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEY}", "Idempotency-Key": f"checkout-{i:010d}", "Prefer": "wait=30"}
            load.post_all(port, "/v1/orders", [load.order("service", prefix, i) for i in range(n)], order_headers, b"paySign")
            # What WeChat's own notifications come with.
            notify_headers = lambda _: {"Content-Type": "text/xml", "User-Agent": "Mozilla/4.0", "Pragma": "no-cache", "Accept": "*/*"}
            load.post_all(port, "/notify/main/pay", [load.notification(prefix, i) for i in range(n)], notify_headers, b"SUCCESS")
            database = (Sqlite if options.store.startswith("sqlite:") else Postgres)(options.store)
            while database.count("SELECT COUNT(*) FROM ledger") < n or database.count("SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL") > 0:
                time.sleep(0.5)
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()
    found, whole = database.sizes()
    each = report(found, whole, options.orders)
    if options.below is not None and each > options.below:
        sys.exit(f"{each:,.0f} bytes are more than {options.below:,.0f}")


if __name__ == "__main__":
    main()
