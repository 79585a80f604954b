"""The parts of the load measurement that are not shell: making requests, placing orders, watching a database, drawing the table.

Nothing here is measured by its own clock except `watch`, which notes when a database holds a number of rows. The merchant is the
one of WeChat's public signing example; its key is printed in WeChat's documentation and signs nothing real.
"""

import argparse
import hashlib
import http.client
import json
import os
import queue
import sqlite3
import subprocess
import sys
import threading
import time

APP_ID = "wxd930ea5d5a258f4f"
MCH_ID = "10000100"
V2_KEY = "192006250b4c09247ec02edce69f6a2d"
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
# The generator is one client: its share of the notifications under way is a 32nd.
max_connections = 32768
[store]
url = "{store}"
{more_of_store}
[bus]
url = "{bus}"
monitoring_urls = [{monitoring}]
{more_of_bus}
[wechat]
pay_url = "http://127.0.0.1:{far}"
pay_backup_url = "http://127.0.0.1:{far}"
api_url = "http://127.0.0.1:{far}"
open_url = "http://127.0.0.1:{far}"
[log]
filter = "warn"
[[apps]]
key = "shop"
app_id = "{app_id}"
kind = "official_account"
[[merchants]]
key = "main"
mch_id = "{mch_id}"
apps = ["shop"]
sign_type = "MD5"
v2_key = "{v2_key}"
# The simulator takes any rate; the pace that WeChat documents would be what is measured.
orders_per_second = 10000
queries_per_second = 10000
[[api_keys]]
name = "shop-backend"
hash = "sha256:{hash}"
scopes = ["orders"]
"""


def config(port, far, store, api_key, bus="embedded:", monitoring="", more_of_store="", more_of_bus=""):
    """The service's configuration file; the merchant signs with MD5 because the peer does."""
    hash = hashlib.sha256(api_key.encode()).hexdigest()
    return CONFIG.format(app_id=APP_ID, mch_id=MCH_ID, v2_key=V2_KEY, **locals())


def order_no(prefix, number):
    return f"{prefix}{number:010d}"


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(line + "\n" for line in lines)


def notification(prefix, number):
    """A payment result as WeChat posts it: flat XML in CDATA, MD5 over all elements in byte order of their names."""
    out_trade_no = order_no(prefix, number)
    fields = {
        "appid": APP_ID,
        "bank_type": "OTHERS",
        "cash_fee": "1",
        "fee_type": "CNY",
        "is_subscribe": "N",
        "mch_id": MCH_ID,
        "nonce_str": hashlib.md5(out_trade_no.encode()).hexdigest(),
        "openid": OPENID,
        "out_trade_no": out_trade_no,
        "result_code": "SUCCESS",
        "return_code": "SUCCESS",
        "time_end": time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + 8 * 3600)),
        "total_fee": "1",
        "trade_type": "JSAPI",
        "transaction_id": "4200" + hashlib.md5(out_trade_no.encode()).hexdigest()[:8].translate(str.maketrans("abcdef", "123456")) + f"{number:016d}",
    }
    return signed_xml(fields)


def unified_order(prefix, number):
    """The call that an order comes to, for WeChat's own share of its latency."""
    out_trade_no = order_no(prefix, number)
    fields = {
        "appid": APP_ID,
        "body": "load",
        "mch_id": MCH_ID,
        "nonce_str": hashlib.md5(out_trade_no.encode()).hexdigest(),
        "notify_url": "http://127.0.0.1:9/notify/main/pay",
        "openid": OPENID,
        "out_trade_no": out_trade_no,
        "spbill_create_ip": "127.0.0.1",
        "total_fee": "1",
        "trade_type": "JSAPI",
    }
    return signed_xml(fields)


def signed_xml(fields):
    signed = "&".join(f"{name}={fields[name]}" for name in sorted(fields)) + "&key=" + V2_KEY
    fields["sign"] = hashlib.md5(signed.encode()).hexdigest().upper()
    return "<xml>" + "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items()) + "</xml>"


def order(system, prefix, number):
    if system == "peer":
        body = {"out_trade_no": order_no(prefix, number), "total_fee": 1, "openid": OPENID, "body": "load"}
    else:
        body = {
            "order_no": order_no(prefix, number),
            "amount_fen": 1,
            "description": "load",
            "trade_type": "JSAPI",
            "openid": OPENID,
            "client_ip": "127.0.0.1",
        }
    return json.dumps(body)


def make(options):
    if options.kind == "notifications":
        write_lines(options.out, (notification(options.prefix, n) for n in range(options.count)))
    elif options.kind == "unified":
        write_lines(options.out, (unified_order(options.prefix, n) for n in range(options.count)))
    else:
        write_lines(options.out, (order(options.system, options.prefix, n) for n in range(options.count)))


def post_all(port, path, bodies, headers_of, expect):
    """Posts every body over 16 connections; one answered 503 is repeated, as WeChat and shops do. Ends with status 1 on
    any other answer that is not 200 with `expect`."""
    todo = queue.SimpleQueue()
    for item in enumerate(bodies):
        todo.put(item)
    failed = []

    def worker():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not failed:
            try:
                n, body = todo.get_nowait()
            except queue.Empty:
                return
            try:
                connection.request("POST", path, body.encode(), headers_of(n))
                answer = connection.getresponse()
                text = answer.read()
            except OSError as error:
                failed.append(f"{body!r}: {error}")
                return
            if answer.status == 503:
                todo.put((n, body))
                time.sleep(0.1)
            elif answer.status != 200 or expect not in text:
                failed.append(f"{body!r}: {answer.status} {text[:300]!r}")

    threads = [threading.Thread(target=worker) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"refused: {failed[0]}")


def place(options):
    """Places every order of a file once, outside the measurement."""
    headers = {"Content-Type": "application/json"}
    if os.environ.get("AUTHORIZATION"):
        headers["Authorization"] = os.environ["AUTHORIZATION"]
    with open(options.file, encoding="utf-8") as lines:
        bodies = [line.rstrip("\n") for line in lines]
    post_all(options.port, options.path, bodies, lambda _: headers, b"paySign")


def print_config(options):
    text = config(options.port, options.far, options.store, os.environ["API_KEY"], options.bus, options.monitoring)
    print(text, end="")


class Postgres:
    """One psql kept open, so that asking costs the server one query and the machine no process."""

    def __init__(self, url):
        self.psql = subprocess.Popen(["psql", "-qAt", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def count(self, query):
        self.psql.stdin.write(query + ";\n")
        self.psql.stdin.flush()
        return int(self.psql.stdout.readline())


class Sqlite:
    def __init__(self, url):
        self.connection = sqlite3.connect("file:" + url.removeprefix("sqlite://") + "?mode=ro", uri=True, timeout=10)

    def count(self, query):
        return self.connection.execute(query).fetchone()[0]


def watch(options):
    """Counts rows, of a database that began without any, four times a second until there are as many as the target file says, which
    is written when the load ends.

    Prints the moment, in microseconds since 1970, at which that many were first seen, and how many were missing at the first look
    after the load ended. The step of 250 ms is the error of both.
    """
    database = (Sqlite if options.database.startswith("sqlite:") else Postgres)(options.database)
    seen = []
    behind = None
    give_up = None
    while True:
        seen.append((time.time_ns() // 1000, database.count(options.query)))
        if os.path.exists(options.target_file):
            with open(options.target_file, encoding="ascii") as file:
                target = int(file.read())
            if behind is None:
                behind = max(0, target - seen[-1][1])
            at = next((at for at, rows in seen if rows >= target), None)
            if at is not None:
                print(at, behind)
                return
            give_up = give_up or time.monotonic() + options.patience
            if time.monotonic() > give_up:
                sys.exit(f"only {seen[-1][1]} of {target} were settled {options.patience} s after the load ended")
        time.sleep(0.25)


def settled(options):
    """From the first request to the last row, over the rows the load was answered SUCCESS for.

    Rows of requests still unanswered when the load ended count towards the number seen, so it may be reached a little early: settling
    is never taken to have ended before the last answer.
    """
    load = json.loads(options.load)
    seconds = max((options.at_us - load["first_us"]) / 1e6, load["seconds"])
    rate = load["good"] / seconds
    print(json.dumps({"good": load["good"], "bad": 0, "broken": 0, "seconds": round(seconds, 3), "per_second": rate,
                      "behind": options.behind}))


def cost_of(result):
    """What one operation cost, by process, and what its database did for it."""
    parts = [f"{name} {us:,.0f}" for name, us in result.get("cpu_us", {}).items()]
    parts += [f"{result[name]:.2f} {name}" for name in ("transactions", "fsyncs") if name in result]
    if "texts" in result:
        parts.append(f"{result['statements']:.2f} statements of {result['texts']} texts")
    return ", ".join(parts) or None


def group_sizes(result):
    """How many operations share a transaction that writes, and a write of the intake log."""
    named = {"by_commits": "a commit", "by_log_syncs": "an fsync of the log"}
    return ", ".join(f"{result[key]:.1f} in {what}" for key, what in named.items() if key in result) or None


def added(results, system, measure):
    """How much later than WeChat's own answer ours is, by percentile."""
    own, wechat = results.get((system, measure)), results.get((system, "wechat " + measure.removeprefix("orders ")))
    if own is None or wechat is None or measure.startswith("notifications"):
        return None
    return " / ".join(f"{own[key] - wechat[key]:.1f}" for key in ("p50_ms", "p99_ms"))


def by_process(key, form):
    return lambda result: ", ".join(f"{name} {value:{form}}" for name, value in result.get(key, {}).items()) or None


# Label, key in the result or a function of it, form, whether more is better.
CLOSED = [
    ("{what} /s{at}", "per_second", "{:,.0f}", True),
    ("– p50, ms", "p50_ms", "{:.1f}", False),
    ("– p99, ms", "p99_ms", "{:.1f}", False),
    ("– p99.9, ms", "p999_ms", "{:.1f}", False),
    ("– CPU µs each", cost_of, "{}", None),
    ("– group", group_sizes, "{}", None),
    ("– behind when the load ended", "behind", "{:,}", None),
]
OPEN = [
    ("{what} at {rate}/s: p50, ms", "p50_ms", "{:.1f}", False),
    ("– p99, ms", "p99_ms", "{:.1f}", False),
    ("– p99.9, ms", "p999_ms", "{:.1f}", False),
    ("– CPU µs each", cost_of, "{}", None),
]
IDLE = [
    ("idle: MB", by_process("memory_mb", ".0f"), "{}", None),
    ("– % of a core", by_process("percent", ".2f"), "{}", None),
    ("– a second", by_process("written", ".2f"), "{}", None),
]
WHAT = {"notifications": "notifications accepted", "settled": "notifications settled", "orders": "orders answered with pay parameters",
        "wechat": "WeChat itself"}


def rows(measures):
    """The table's rows for what was measured, in its order: a measure is a kind, and a rate or a number of connections."""
    several = len({measure for measure in measures if measure.startswith("orders @")}) > 1
    for measure in measures:
        kind, _, at = measure.partition(" ")
        if kind == "idle":
            yield from ((label, measure, *rest) for label, *rest in IDLE)
        elif at.startswith("@"):
            names = {"what": WHAT[kind], "at": f", {at[1:]} connections" if several else ""}
            yield from ((label.format(**names), measure, *rest) for label, *rest in CLOSED)
        else:
            yield from ((label.format(what=WHAT[kind], rate=at.removesuffix("/s")), measure, *rest) for label, *rest in OPEN)
            if kind == "orders":
                yield "– added to WeChat's own, p50 / p99, ms", measure, added, "{}", None


def table(options):
    """Results, one JSON object a line (system, measure, and what wrk said), as Markdown. Ratios are to the peer; above 1 is better."""
    results, systems, measures = {}, [], []
    with open(options.results, encoding="utf-8") as lines:
        for line in lines:
            result = json.loads(line)
            results[result["system"], result["measure"]] = result
            if result["system"] not in systems:
                systems.append(result["system"])
            if result["measure"] not in measures:
                measures.append(result["measure"])
    header = [""] + [cell for system in systems for cell in ([system] if system == "peer" else [system, "to the peer"])]
    if "peer" not in systems:
        header = [""] + systems
    print("| " + " | ".join(header) + " |")
    print("|---|" + "---:|" * (len(header) - 1))
    for label, measure, key, form, more_is_better in rows(measures):
        cells = [label]
        shown = {}
        for system in systems:
            result = results.get((system, measure), {})
            if key is added:
                shown[system] = added(results, system, measure)
            else:
                shown[system] = key(result) if callable(key) else result.get(key)
        if not any(shown.values()):
            continue
        for system in systems:
            value = shown[system]
            cells.append("–" if value is None else form.format(value))
            if system != "peer" and "peer" in systems:
                peer = shown["peer"]
                known = value and peer and more_is_better is not None
                cells.append(f"{(value / peer if more_is_better else peer / value):.1f}×" if known else "–")
        print("| " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("make", help="writes requests, one a line")
    command.add_argument("kind", choices=["notifications", "orders", "unified"])
    command.add_argument("--system", choices=["peer", "service"], default="service")
    command.add_argument("--count", type=int, required=True)
    command.add_argument("--prefix", required=True)
    command.add_argument("--out", required=True)
    command.set_defaults(run=make)

    command = commands.add_parser("place", help="places the orders of a file")
    command.add_argument("--file", required=True)
    command.add_argument("--port", type=int, required=True)
    command.add_argument("--path", required=True)
    command.set_defaults(run=place)

    command = commands.add_parser("config", help="prints the service's configuration; the key stands in API_KEY")
    command.add_argument("--port", type=int, required=True)
    command.add_argument("--far", type=int, required=True)
    command.add_argument("--store", required=True)
    command.add_argument("--bus", required=True)
    command.add_argument("--monitoring", required=True)
    command.set_defaults(run=print_config)

    command = commands.add_parser("watch", help="waits for rows")
    command.add_argument("--database", required=True)
    command.add_argument("--query", required=True)
    command.add_argument("--target-file", required=True)
    command.add_argument("--patience", type=int, default=120)
    command.set_defaults(run=watch)

    command = commands.add_parser("settled", help="the rate of settling, from what wrk and watch said")
    command.add_argument("--load", required=True)
    command.add_argument("--at-us", type=int, required=True)
    command.add_argument("--behind", type=int, required=True)
    command.set_defaults(run=settled)

    command = commands.add_parser("table", help="draws the results")
    command.add_argument("results")
    command.set_defaults(run=table)

    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
