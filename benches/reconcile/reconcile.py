"""How long a day's reconciliation takes, and how much memory, with many rows.

    python3 benches/reconcile/reconcile.py --store sqlite:///tmp/reconcile.db [--rows 100000 1000000] [--build release]
    …                                      --store postgres://postgres@127.0.0.1:5432/an_empty_database
    python3 benches/reconcile/reconcile.py --plot docs/reconciliation.svg RESULT.json …

For each number of rows the program empties or creates the database, fills a day with that many orders, payments and rows of the
ledger by SQL, writes WeChat's bill of the day, of which one row in ten thousand has another amount than the books, and serves it
compressed. Then it starts the service, asks for the day and prints Markdown: seconds from the beginning of the run to its result,
the download included, and the most memory above that of the idle service. With --keep the figures are also written to a file, from
which --plot makes a picture.
"""

import argparse
import gzip
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from ports import free_port

API_KEY = "reconcile-8d2f6b1c9a40"
APP, MERCHANT = "wxd930ea5d5a258f4f", "10000100"
STEP = 50_000
DAY_MS = 86_400_000
BEIJING_MS = 8 * 3_600_000
# One row in so many has another amount in the bill.
DIFFERS = 10_000

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
[store]
url = "{store}"
[bus]
url = "embedded:"
[wechat]
pay_url = "http://127.0.0.1:{bills}"
pay_backup_url = "http://127.0.0.1:{bills}"
api_url = "http://127.0.0.1:9"
open_url = "http://127.0.0.1:9"
[reconcile]
schedule = false
dir = "{folder}"
[log]
filter = "warn"
[[apps]]
key = "shop"
app_id = "{app}"
kind = "official_account"
[[merchants]]
key = "main"
mch_id = "{merchant}"
apps = ["shop"]
sign_type = "MD5"
v2_key = "192006250b4c09247ec02edce69f6a2d"
[[api_keys]]
name = "bench"
hash = "sha256:{hash}"
scopes = ["finance", "ops"]
merchants = "all"
"""

# The orders numbered {first} to {last}. `i` is an order's number, `at` its time in milliseconds.
NUMBERS = """
WITH RECURSIVE n (i) AS (SELECT CAST({first} AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {last}),
o AS (SELECT i, CAST({begin} + (i * 7919 % {all}) * {pace} AS BIGINT) AS at, 'ORDER2026' || {digits} AS number,
        '4200001' || {scattered} || {digits} AS paid, 100 + i * 7919 % 50000 AS amount FROM n)
"""

TABLES = [
    """INSERT INTO orders (id, merchant, order_no, app, state, version, amount_fen, currency, content, content_hash, requested_by, order_token,
         outcome_unknown, paid_late, paid_twice, amount_mismatch, paid_told, transaction_id, paid_at_ms, created_at_ms, expires_at_ms,
         updated_at_ms, queries_done)
       {numbers} SELECT i, 'main', number, 'shop', 'paid', 3, amount, 'CNY',
         '{{"order_no":"' || number || '","merchant":"main","app":"shop","amount_fen":' || amount || ',"description":"coffee","trade_type":"NATIVE"}}',
         {hash}, 'bench', 'tok' || {hash}, FALSE, FALSE, FALSE, FALSE, TRUE, paid, at, at, at + 7200000, at, 1 FROM o""",
    """INSERT INTO payments (merchant, transaction_id, version, class, order_id, order_no, out_trade_no, mch_id, appid, amount_fen, currency,
         paid_at_ms, recorded_at_ms, updated_at_ms)
       {numbers} SELECT 'main', paid, 1, 'credited', i, number, number, '{merchant}', '{app}', amount, 'CNY', at, at + 500, at + 500 FROM o""",
    """INSERT INTO ledger (merchant, order_id, order_version, order_no, out_trade_no, entry, transaction_id, amount_fen, currency, occurred_at_ms,
         recorded_at_ms, to_class, payment_version, evidence)
       {numbers} SELECT 'main', i, 3, number, number, 'payment', paid, amount, 'CNY', at, at + 500, 'credited', 1, 'query:' || number FROM o""",
]

HEAD = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,"
    "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"


def scattered(i):
    """Digits that put WeChat's numbers in another order than ours."""
    return (i * 7_368_787) % 1_000_003


def yuan(fen):
    return f"{fen // 100}.{fen % 100:02d}"


def write_bill(path, rows, begin, pace):
    """A bill of so many payments as WeChat writes it, in the order of their time."""
    orders = fees = 0
    inverse = pow(7919, -1, rows)
    with gzip.open(path, "wb", compresslevel=1) as out:
        lines = [f"\ufeff{HEAD}\r\n"]
        for place in range(rows):
            i = place * inverse % rows or rows
            at = time.gmtime((begin + (i * 7919 % rows) * pace + BEIJING_MS) // 1000)
            fen = 100 + i * 7919 % 50000 + (1 if i % DIFFERS == 7 else 0)
            fee = (fen * 60 + 5000) // 10000
            orders, fees = orders + fen, fees + fee
            stamp = f"{at.tm_year}-{at.tm_mon:02d}-{at.tm_mday:02d} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
            lines.append(
                f"`{stamp},`{APP},`{MERCHANT},`0,`,`4200001{scattered(i):07d}{i:09d},`ORDER2026{i:09d},`oUpF8uMuAJO_M2pxb1Q9zNjWeS6o,`NATIVE,`SUCCESS,"
                f"`OTHERS,`CNY,`{yuan(fen)},`0.00,`0,`0,`0.00,`0.00,`,`,`coffee,`,`{yuan(fee)}000,`0.60%,`{yuan(fen)},`0.00,`\r\n"
            )
            if len(lines) == 10_000:
                out.write("".join(lines).encode())
                lines = []
        lines.append(f"{SUMMARY}\r\n`{rows},`{yuan(orders)},`0.00,`0.00,`{yuan(fees)}000,`{yuan(orders)},`0.00\r\n")
        out.write("".join(lines).encode())


class Bills(http.server.BaseHTTPRequestHandler):
    """WeChat, as far as it has the bill."""

    path_of_bill = None

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/pay/downloadbill":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-gzip")
        self.send_header("Content-Length", str(os.path.getsize(self.path_of_bill)))
        self.end_headers()
        with open(self.path_of_bill, "rb") as bill:
            while chunk := bill.read(1 << 18):
                self.wfile.write(chunk)

    def log_message(self, *_):
        pass


class Database:
    def __init__(self, url):
        self.url = url
        self.is_sqlite = url.startswith("sqlite:")
        self.path = urllib.parse.urlsplit(url).path

    def run(self, sql):
        if self.is_sqlite:
            connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            connection.executescript(f"PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN; {sql}; COMMIT")
            connection.close()
        else:
            command = ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", self.url]
            subprocess.run(command, input=f"SET synchronous_commit = off; {sql}", check=True, capture_output=True, text=True)

    def empty(self):
        if self.is_sqlite:
            for end in ("", "-wal", "-shm"):
                pathlib.Path(self.path + end).unlink(missing_ok=True)
        else:
            self.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def fill(self, rows, day, begin, pace):
        digits = "printf('%09d', i)" if self.is_sqlite else "lpad(CAST(i AS TEXT), 9, '0')"
        scattered = "i * 7368787 % 1000003"
        names = {
            "digits": digits,
            "hash": "printf('%064x', i)" if self.is_sqlite else "lpad(to_hex(i), 64, '0')",
            "scattered": f"printf('%07d', {scattered})" if self.is_sqlite else f"lpad(CAST({scattered} AS TEXT), 7, '0')",
            "app": APP,
            "merchant": MERCHANT,
        }
        for first in range(1, rows + 1, STEP):
            last = min(first + STEP - 1, rows)
            numbers = NUMBERS.format(first=first, last=last, all=rows, begin=begin, pace=pace, **names)
            self.run(";".join(table.format(numbers=numbers, **names) for table in TABLES))
            print(f"\r{last} orders", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        # The job that compares the books with the events has nothing to do with this day.
        self.run(f"INSERT INTO book_checks (merchant, day, checked_at_ms, rows_checked, findings, found) VALUES ('main', '{day}', {begin + 9 * DAY_MS}, 0, 0, '[]')")
        if self.is_sqlite:
            connection = sqlite3.connect(self.path)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        else:
            self.run("SELECT setval(pg_get_serial_sequence('orders', 'id'), (SELECT MAX(id) FROM orders))")
            command = ["psql", "-qAtX", self.url, "-c", "VACUUM ANALYZE", "-c", "CHECKPOINT"]
            subprocess.run(command, check=True, capture_output=True)


class Service:
    def __init__(self, port):
        self.port = port

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
        connection.request(method, path, body and json.dumps(body), headers)
        response = connection.getresponse()
        said = response.read()
        connection.close()
        if response.status >= 300:
            sys.exit(f"{path}: {response.status} {said[:300]!r}")
        return json.loads(said)


def wait_for_port(process, port):
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"the service ended with {process.returncode}")
        with socket.socket() as caller:
            if caller.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("the service does not listen")


def memory(process, name):
    """`VmRSS` or `VmHWM`, in bytes."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu(process):
    """Seconds of CPU that the process has had."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def at(text):
    """RFC 3339 in seconds."""
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def measure(program, database, rows, scratch):
    now = int(time.time() * 1000)
    begin = (now + BEIJING_MS) // DAY_MS * DAY_MS - BEIJING_MS - 2 * DAY_MS
    pace = DAY_MS // rows
    day = time.strftime("%Y-%m-%d", time.gmtime((begin + BEIJING_MS) // 1000))
    port, bills = free_port(), free_port()
    config = scratch / "wxpay.toml"
    folder = scratch / "bills"
    texts = {"port": port, "bills": bills, "store": database.url, "folder": folder, "app": APP, "merchant": MERCHANT}
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(hash=hashlib.sha256(API_KEY.encode()).hexdigest(), **texts))
    database.empty()
    subprocess.run([program, "migrate", "--config", config], check=True, stdout=subprocess.DEVNULL)
    database.fill(rows, day, begin, pace)
    Bills.path_of_bill = scratch / "bill.csv.gz"
    write_bill(Bills.path_of_bill, rows, begin, pace)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", bills), Bills)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # As deploy/systemd/wxpayd.service and the image set it.
    process = subprocess.Popen([program, "run", "--config", config], env=os.environ | {"MALLOC_ARENA_MAX": "2"})
    try:
        wait_for_port(process, port)
        time.sleep(12)
        # The most memory from here on.
        pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        idle = memory(process, "VmRSS")
        load, before = os.getloadavg()[0], cpu(process)
        service = Service(port)
        service.call("POST", "/v1/reconciliations", {"merchant": "main", "date": day})
        while True:
            found = service.call("GET", f"/v1/reconciliations/main/{day}")
            if found["state"] not in ("pending", "running"):
                break
            time.sleep(0.1)
        peak, busy = memory(process, "VmHWM"), cpu(process) - before
    finally:
        process.terminate()
        process.wait()
        server.shutdown()
        server.server_close()
    differs = len(range(7, rows + 1, DIFFERS))
    if found["classes"] != {"matched": rows - differs, "amount": differs} or found["unexplained_fen"] != 0:
        sys.exit(f"not the result that was planted: {found}")
    took = at(found["finished_at"]) - at(found["started_at"])
    store = "SQLite" if database.is_sqlite else "PostgreSQL"
    return {"store": store, "rows": rows, "seconds": round(took, 2), "mib": round((peak - idle) / (1 << 20), 1), "idle_mib": round(idle / (1 << 20), 1), "cpu": round(busy, 1), "load": round(load, 1)}


def report(results):
    print("\n| database | rows | seconds | seconds of CPU | rows per second | memory above idle | load before |\n|---|---:|---:|---:|---:|---:|---:|")
    for each in results:
        speed = int(each["rows"] / each["seconds"])
        print(f"| {each['store']} | {each['rows']:,} | {each['seconds']:.1f} | {each['cpu']:.1f} | {speed:,} | {each['mib']:.1f} MiB | {each['load']} |")


def plot(results, path):
    """Bars of seconds and of memory, side by side."""
    width, height, left, base = 760, 300, 60, 240
    marks = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">']
    marks.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    panels = [("seconds", "seconds from the beginning to the result", "s", "#2b6cb0"), ("mib", "MiB of memory above idle", "MiB", "#2f855a")]
    for n, (name, title, unit, colour) in enumerate(panels):
        x = left + n * 360
        most = max(each[name] for each in results)
        marks.append(f'<text x="{x}" y="24" font-weight="bold">{title}</text>')
        marks.append(f'<line x1="{x}" y1="{base}" x2="{x + 300}" y2="{base}" stroke="#333"/>')
        room = 300 // len(results)
        for k, each in enumerate(results):
            tall = max(1, round(each[name] / most * 180))
            at = x + k * room + 10
            marks.append(f'<rect x="{at}" y="{base - tall}" width="{room - 20}" height="{tall}" fill="{colour}"/>')
            middle = at + (room - 20) // 2
            marks.append(f'<text x="{middle}" y="{base - tall - 6}" text-anchor="middle">{each[name]:.1f} {unit}</text>')
            marks.append(f'<text x="{middle}" y="{base + 18}" text-anchor="middle">{each["store"]}</text>')
            marks.append(f'<text x="{middle}" y="{base + 34}" text-anchor="middle">{each["rows"] // 1000:,}k rows</text>')
    marks.append("</svg>")
    pathlib.Path(path).write_text("\n".join(marks) + "\n")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--store")
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--build", default="release")
    options.add_argument("--program", type=pathlib.Path, help="another wxpayd than that of the build")
    options.add_argument("--keep", type=pathlib.Path, help="a file for the figures")
    options.add_argument("--plot", type=pathlib.Path)
    options.add_argument("results", type=pathlib.Path, nargs="*")
    options = options.parse_args()
    if options.plot:
        plot([each for file in options.results for each in json.loads(file.read_text())], options.plot)
        return
    program = options.program or ROOT / "target" / options.build / "wxpayd"
    results = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as scratch:
            results.append(measure(program, Database(options.store), rows, pathlib.Path(scratch)))
            print(results[-1], file=sys.stderr)
    report(results)
    if options.keep:
        options.keep.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
