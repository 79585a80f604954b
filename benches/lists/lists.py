"""How long the list of orders, the search and an order's history take with many orders.

    python3 benches/lists/lists.py --store sqlite:///tmp/lists.db [--orders 1000000] [--requests 200] [--build release] [--below 300]
    …                              --store postgres://postgres@127.0.0.1:5432/an_empty_database

Creates the schema (`wxpayd migrate`), fills it by SQL with orders of sixty days that resemble those of a shop, unless it holds some
already, starts the service and asks it over HTTP, one request after the other. Prints Markdown: milliseconds by kind of request. With
--below the program ends with status 1 where a p95 is above so many milliseconds. What is rare is searched page after page; "pages"
says how many the answer took, and the figures are of one page.
"""

import argparse
import hashlib
import http.client
import json
import pathlib
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from ports import free_port

API_KEY = "lists-4b1d9c7e2f60"
STEP = 50_000
DAYS = 60

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
[store]
url = "{store}"
[bus]
url = "embedded:"
[wechat]
# Is not called.
pay_url = "http://127.0.0.1:9"
pay_backup_url = "http://127.0.0.1:9"
api_url = "http://127.0.0.1:9"
open_url = "http://127.0.0.1:9"
[log]
filter = "warn"
[[apps]]
key = "shop"
app_id = "wxd930ea5d5a258f4f"
kind = "official_account"
[[apps]]
key = "mini"
app_id = "wxd930ea5d5a258f40"
kind = "mini_program"
[[merchants]]
key = "main"
mch_id = "10000100"
apps = ["shop", "mini"]
sign_type = "MD5"
v2_key = "192006250b4c09247ec02edce69f6a2d"
[[merchants]]
key = "second"
mch_id = "10000101"
apps = ["shop"]
sign_type = "MD5"
v2_key = "292006250b4c09247ec02edce69f6a2d"
[[api_keys]]
name = "bench"
hash = "sha256:{hash}"
scopes = ["orders", "ops"]
merchants = "all"
"""

# The orders numbered {first} to {last}. `i` is an order's number, `at` its time in milliseconds.
NUMBERS = """
WITH RECURSIVE n (i) AS (SELECT CAST({first} AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {last}),
o AS (SELECT i, CAST({begin} + i * {pace} AS BIGINT) AS at, 'ORDER2026' || {digits} AS number,
        CASE WHEN i % 10 = 3 THEN 'second' ELSE 'main' END AS merchant,
        CASE WHEN i > {all} - 300 AND i % 3 = 0 THEN 'payable' WHEN i % 211 = 0 THEN 'failed' WHEN i % 4 = 0 THEN 'closed' ELSE 'paid' END AS state,
        CASE WHEN i % 20 = 7 THEN 'NATIVE' WHEN i % 5000 = 9 THEN 'APP' ELSE 'JSAPI' END AS trade_type,
        CASE WHEN i % 7 = 2 THEN 'mini' ELSE 'shop' END AS app,
        100 + i * 7919 % 50000 AS amount
      FROM n)
"""

TABLES = [
    """INSERT INTO orders (id, merchant, order_no, app, state, version, amount_fen, currency, content, content_hash, requested_by, order_token,
         outcome_unknown, paid_late, paid_twice, amount_mismatch, paid_told, failure_code, transaction_id, paid_at_ms, created_at_ms,
         expires_at_ms, updated_at_ms, queries_done)
       {numbers} SELECT i, merchant, number, app, state, 3, amount, 'CNY',
         '{{"order_no":"' || number || '","merchant":"' || merchant || '","app":"' || app || '","amount_fen":' || amount ||
         ',"description":"' || CASE WHEN i % 3 = 0 THEN '龙井茶' WHEN i % 3 = 1 THEN 'Green tea' ELSE '咖啡' END || ' no ' || i ||
         '","trade_type":"' || trade_type || '","openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o","client_ip":"203.0.113.7","product_id":"p","attach":"table ' || (i % 97) ||
         '","metadata":{{"shop":"' || (i % 50) || '","cashier":"c' || (i % 400) || '"}}}}',
         {hash}, {uuid_request}, 'tok' || {hash}, FALSE, i % 3001 = 0 AND state = 'paid', i % 9001 = 0 AND state = 'paid', FALSE, state = 'paid',
         CASE WHEN state = 'failed' THEN 'PARAM_ERROR' END, CASE WHEN state = 'paid' THEN '420000' || {digits} || '20261' END,
         CASE WHEN state = 'paid' THEN at + 9000 END, at, at + 7200000, at + 9000, 1 FROM o""",
    """INSERT INTO attempts (order_id, merchant, out_trade_no, n, trade_type, mch_id, appid, sign_type, params, state, prepay_id,
         prepay_issued_at_ms, transaction_id, error_code, created_at_ms)
       {numbers} SELECT i, merchant, number, 1, trade_type, '10000100', 'wxd930ea5d5a258f4f', 'MD5', '{{}}', state, 'wx20261128' || {hash}, at,
         CASE WHEN state = 'paid' THEN '420000' || {digits} || '20261' END, CASE WHEN state = 'failed' THEN 'PARAM_ERROR' END, at FROM o""",
    """INSERT INTO payments (merchant, transaction_id, version, class, order_id, order_no, out_trade_no, mch_id, appid, amount_fen, currency,
         paid_at_ms, recorded_at_ms, updated_at_ms)
       {numbers} SELECT merchant, '420000' || {digits} || '20261', 1, 'credited', i, number, number, '10000100', 'wxd930ea5d5a258f4f', amount, 'CNY',
         at + 9000, at + 9500, at + 9500 FROM o WHERE state = 'paid'""",
    """INSERT INTO ledger (merchant, order_id, order_version, order_no, out_trade_no, entry, transaction_id, amount_fen, currency, occurred_at_ms,
         recorded_at_ms, to_class, payment_version, evidence)
       {numbers} SELECT merchant, i, 3, number, number, 'payment', '420000' || {digits} || '20261', amount, 'CNY', at + 9000, at + 9500, 'credited', 1,
         'notification:' || {uuid_notification} FROM o WHERE state = 'paid'""",
    """INSERT INTO evidence (order_id, version, out_trade_no, source, source_id, fact, received_at_ms, recorded_at_ms, took_ms, state)
       {numbers} SELECT i, 2, number, 'unified_order', number, '{{"fact":"prepay_issued","prepay_id":"wx20261128' || {hash} || '"}}', at + 80, at + 82, 71,
         'payable' FROM o""",
    """INSERT INTO evidence (order_id, version, out_trade_no, source, source_id, fact, verified_by, received_at_ms, recorded_at_ms, state)
       {numbers} SELECT i, 3, number, 'notification', {uuid_notification}, '{{"fact":"paid","transaction_id":"420000' || {digits} || '20261","total_fee":' || amount || '}}',
         'MD5 with key 1f2e3d4c', at + 9400, at + 9500, 'paid' FROM o WHERE state = 'paid'""",
    """INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms, processed_at_ms, verdict, out_trade_no,
         transaction_id, verified_by, order_id)
       {numbers} SELECT {uuid_notification}, merchant, 'pay', {body}, '[["content-type","text/xml"]]', '203.0.113.1:443', at + 9400, at + 9500, 'settled',
         number, '420000' || {digits} || '20261', 'MD5 with key 1f2e3d4c', i FROM o WHERE state = 'paid'""",
    """INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload, created_at_ms, position, relayed_at_ms)
       {numbers} SELECT {uuid_payable}, merchant, number, 'pay.event.' || merchant || '.order.payable', 'wxpay.order.payable.v1', {payload}, at + 82, 2 * i - 1,
         at + 90 FROM o""",
    """INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload, created_at_ms, position, relayed_at_ms)
       {numbers} SELECT {uuid_paid}, merchant, number, 'pay.event.' || merchant || '.order.paid', 'wxpay.order.paid.v1', {payload}, at + 9500, 2 * i,
         at + 9510 FROM o WHERE state = 'paid'""",
    """INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, order_id, paid_fen, reserved_fen, refunded_fen, count, next_call_at_ms)
       {numbers} SELECT merchant, '420000' || {digits} || '20261', number, i, amount, 10, 10, 1, 0 FROM o WHERE state = 'paid' AND i % 50 = 1""",
    """INSERT INTO refunds (merchant, refund_no, order_id, order_no, out_trade_no, transaction_id, version, state, origin, amount_fen, total_fen,
         requested_by, content_hash, params, sign_type, delayed, calls, queries_done, refund_id, succeeded_at_ms, created_at_ms, updated_at_ms)
       {numbers} SELECT merchant, number || '-r1', i, number, number, '420000' || {digits} || '20261', 3, 'succeeded', 'api', 10, amount, 'bench', {hash}, '{{}}',
         'MD5', FALSE, 1, 1, '5030' || {digits}, at + 99000, at + 90000, at + 99000 FROM o WHERE state = 'paid' AND i % 50 = 1""",
    """INSERT INTO calls (order_id, number, api, outcome, code, at_ms, took_ms)
       {numbers} SELECT i, number, 'orderquery', 'done', 'NOTPAY', at + 30000, 60 FROM o WHERE state = 'closed'""",
]

PAYLOAD = """'{"specversion":"1.0","id":"0","source":"wxpay/main","type":"wxpay.order.paid.v1","subject":"' || number || '","data":{"order_no":"' || number ||
'","app":"shop","amount_fen":100,"currency":"CNY","transaction_id":"420000","paid_at":"2026-11-28T00:00:00Z","out_trade_no":"' || number || '","pad":"' || {hash} || {hash} || '"}}'"""
BODY = "'<xml>' || {hash} || {hash} || {hash} || {hash} || {hash} || {hash} || {hash} || {hash} || {hash} || {hash} || '</xml>'"


def uuid(dialect, kind):
    """An id of version 7 in SQL: its time, then the order's number."""
    time_hex, number_hex = ("printf('%012x', at)", "printf('%011x', i)") if dialect == "sqlite" else ("lpad(to_hex(at), 12, '0')", "lpad(to_hex(i), 11, '0')")
    return f"substr({time_hex}, 1, 8) || '-' || substr({time_hex}, 9, 4) || '-7{kind}-8000-0' || {number_hex}"


class Database:
    def __init__(self, url):
        self.url = url
        self.dialect = "sqlite" if url.startswith("sqlite:") else "postgres"
        self.path = urllib.parse.urlsplit(url).path

    def run(self, sql):
        if self.dialect == "sqlite":
            connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            connection.executescript(f"PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN; {sql}; COMMIT")
            connection.close()
        else:
            subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", self.url], input=f"SET synchronous_commit = off; {sql}", check=True, capture_output=True, text=True)

    def rows(self, sql):
        if self.dialect == "sqlite":
            connection = sqlite3.connect(self.path, timeout=60)
            try:
                return [tuple(map(str, row)) for row in connection.execute(sql)]
            finally:
                connection.close()
        done = subprocess.run(["psql", "-qAtX", "-F", "|", self.url, "-c", sql], check=True, capture_output=True, text=True)
        return [tuple(line.split("|")) for line in done.stdout.splitlines()]

    def fill(self, orders):
        sqlite = self.dialect == "sqlite"
        begin = int(time.time() * 1000) - DAYS * 86_400_000
        digits = "printf('%09d', i)" if sqlite else "lpad(CAST(i AS TEXT), 9, '0')"
        hashed = "printf('%064x', i)" if sqlite else "lpad(to_hex(i), 64, '0')"
        body = BODY.replace("{hash}", hashed)
        names = {
            "digits": digits,
            "hash": hashed,
            "body": f"CAST({body} AS BLOB)" if sqlite else f"convert_to({body}, 'UTF8')",
            "payload": PAYLOAD.replace("{hash}", hashed),
            "uuid_request": uuid(self.dialect, "a00"),
            "uuid_notification": uuid(self.dialect, "b00"),
            "uuid_payable": uuid(self.dialect, "c00"),
            "uuid_paid": uuid(self.dialect, "d00"),
        }
        for first in range(1, orders + 1, STEP):
            last = min(first + STEP - 1, orders)
            numbers = NUMBERS.format(first=first, last=last, all=orders, begin=begin, pace=DAYS * 86_400_000 // orders, digits=digits)
            self.run(";".join(table.format(numbers=numbers, **names) for table in TABLES))
            print(f"\r{last} orders", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        # Rows with numbers of their own leave the sequence behind.
        self.run("SELECT 1" if sqlite else "SELECT setval(pg_get_serial_sequence('orders', 'id'), (SELECT MAX(id) FROM orders)); ANALYZE")


class Service:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path):
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {API_KEY}"})
        response = self.connection.getresponse()
        body = response.read()
        took = (time.perf_counter() - began) * 1000
        if response.status != 200:
            sys.exit(f"{path}: {response.status} {body[:300]!r}")
        return took, json.loads(body)


def requests(orders, payments, events):
    """Kinds of requests: each makes a path."""
    pick = lambda: random.choice(orders)
    at = lambda day: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - day * 86400))
    day = lambda: random.uniform(3, DAYS - 3)
    span = lambda: (lambda d: f"from={at(d)}&to={at(d - 2)}")(day())
    listed = "/v1/orders?limit=50"
    kinds = {
        "list": lambda: listed,
        "merchant": lambda: f"{listed}&merchant={random.choice(['main', 'second'])}",
        "two days": lambda: f"{listed}&{span()}",
    }
    for state in ("requested", "payable", "paid", "closed", "failed"):
        kinds[f"state {state}"] = lambda state=state: f"{listed}&state={state}"
    for flag in ("paid_late", "paid_twice", "outcome_unknown"):
        kinds[f"flag {flag}"] = lambda flag=flag: f"{listed}&flag={flag}"
    kinds |= {
        "app": lambda: f"{listed}&app={random.choice(['shop', 'mini'])}",
        "trade type NATIVE": lambda: f"{listed}&trade_type=NATIVE",
        "trade type APP, rare": lambda: f"{listed}&trade_type=APP",
        "trade type MWEB, none": lambda: f"{listed}&trade_type=MWEB",
        "amounts": lambda: f"{listed}&min_amount_fen=1000&max_amount_fen=2000",
        "one amount": lambda: (lambda n: f"{listed}&min_amount_fen={n}&max_amount_fen={n}")(random.randint(100, 50000)),
        "no such amount": lambda: f"{listed}&min_amount_fen=90000",
        "all filters": lambda: f"{listed}&merchant=main&state=paid&app=shop&trade_type=JSAPI&min_amount_fen=1000&max_amount_fen=9000&{span()}",
        "text, frequent": lambda: f"{listed}&q={urllib.parse.quote('井茶')}",
        "text, rare": lambda: f"{listed}&q={urllib.parse.quote('no ' + str(random.randint(100000, 900000)))}",
        "text, none": lambda: f"{listed}&q={urllib.parse.quote('乌龙')}",
        "order_no": lambda: f"{listed}&q={pick()[0]}",
        "order_no, beginning": lambda: f"{listed}&q={pick()[0][:15]}",
        "transaction_id": lambda: f"{listed}&q={random.choice(payments)[0]}",
        "refund_no": lambda: f"{listed}&q={random.choice(payments)[0].replace('420000', 'ORDER2026')[:-5]}-r1",
        "event id": lambda: f"{listed}&q={random.choice(events)[0]}",
        "event id, beginning": lambda: f"{listed}&q={random.choice(events)[0][:25]}",
        "order": lambda: "/v1/orders/{}?merchant={}".format(*pick()),
        "history": lambda: "/v1/orders/{}/history?merchant={}".format(*pick()),
    }
    return kinds


def measure(service, path_of, count):
    times, pages = [], 1
    for n in range(count):
        path = path_of()
        took, answer = service.get(path)
        times.append(took)
        if n == 0 and "orders" in answer:
            # How many pages the first fifty take, or all there are.
            found = len(answer["orders"])
            while answer.get("next") and found < 50:
                pages += 1
                took, answer = service.get(f"{path}&after={answer['next']}")
                times.append(took)
                found += len(answer["orders"])
    times.sort()
    return statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.95))], times[-1], pages


def deep(service):
    """A cursor some thousand orders down."""
    path = "/v1/orders?limit=500"
    after = ""
    for _ in range(4):
        _, answer = service.get(path + after)
        if answer["next"] is None:
            break
        after = f"&after={answer['next']}"
    return lambda: "/v1/orders?limit=50" + after


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--build", default="release")
    parser.add_argument("--below", type=float)
    options = parser.parse_args()
    random.seed(7)
    program = ROOT / "target" / options.build / "wxpayd"
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        config = pathlib.Path(scratch) / "wxpay.toml"
        hash = hashlib.sha256(API_KEY.encode()).hexdigest()
        config.write_text(CONFIG.format(port=port, store=options.store, hash=hash))
        subprocess.run([program, "migrate", "--config", config], check=True, stdout=subprocess.DEVNULL)
        database = Database(options.store)
        if database.rows("SELECT COUNT(*) FROM orders") == [("0",)]:
            database.fill(options.orders)
        sample = "SELECT {} FROM {} WHERE {} LIMIT 500"
        some = lambda column: f"{column} % 1009 = 5"
        orders = database.rows(sample.format("order_no, merchant", "orders", some("id")))
        payments = database.rows(sample.format("transaction_id", "refunds", "id % 11 = 5"))
        events = database.rows(sample.format("event_id", "outbox", some("id")))
        running = subprocess.Popen([program, "run", "--only", "ingress", "--config", config])
        try:
            for _ in range(300):
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            service = Service(port)
            kinds = requests(orders, payments, events)
            kinds["list, 2,000 orders down"] = deep(service)
            print("| request | p50 ms | p95 ms | max ms | pages |\n|---|---:|---:|---:|---:|")
            slow = []
            for name, path_of in kinds.items():
                p50, p95, most, pages = measure(service, path_of, options.requests)
                print(f"| {name} | {p50:.1f} | {p95:.1f} | {most:.1f} | {pages} |", flush=True)
                if options.below is not None and p95 > options.below:
                    slow.append(name)
        finally:
            running.terminate()
            running.wait()
    if slow:
        sys.exit(f"p95 above {options.below:.0f} ms: {', '.join(slow)}")


if __name__ == "__main__":
    main()
