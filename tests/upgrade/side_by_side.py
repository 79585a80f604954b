"""One process of an earlier version and one of this one on one database and one bus, under load.

    python3 side_by_side.py OLD NEW SECONDS embedded
    python3 side_by_side.py OLD NEW SECONDS nats POSTGRES NATS_SERVER

OLD and NEW have `wxpayd`, NEW has `wxpay-sandbox` besides. tests/upgrade/side-by-side.sh calls this with everything it
needs. Prints the figures; ends with status 1 when something differs.
"""

import asyncio
import collections
import contextlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from service import APPS, MERCHANTS, Stage, free_port, until

CLIENTS = 8
MCH_ID = MERCHANTS["main"][0]
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
# Lost notifications are made up for by polls, which come later and later.
SETTLES_WITHIN = 180


class Balancer:
    """Hands each connection to the next process in turn: what a load balancer does while versions change."""

    def __init__(self, port, backends):
        self.port, self.next, self.counts = port, itertools.cycle(backends), collections.Counter()
        self.loop, listens = asyncio.new_event_loop(), threading.Event()
        threading.Thread(target=self.run, args=[listens], daemon=True).start()
        listens.wait()

    def run(self, listens):
        self.loop.run_until_complete(asyncio.start_server(self.accept, "127.0.0.1", self.port))
        listens.set()
        self.loop.run_forever()

    async def accept(self, reader, writer):
        backend = next(self.next)
        self.counts[backend] += 1
        with contextlib.suppress(OSError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", backend)
            await asyncio.gather(self.copy(reader, to_writer), self.copy(to_reader, writer))

    @staticmethod
    async def copy(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


class Client(threading.Thread):
    """Places, pays and refunds one order after the other, each request at the other process than the one before."""

    def __init__(self, stage, number, bases, end):
        super().__init__()
        self.stage, self.name, self.end, self.error = stage, f"S{number}", end, None
        self.bases = itertools.cycle(bases[number % 2 :] + bases[: number % 2])
        self.paid, self.refunds, self.took = [], [], []

    def run(self):
        try:
            for n in itertools.count():
                if time.monotonic() > self.end:
                    return
                self.order(n)
        except Exception as error:  # noqa: BLE001 - it is reported by the main thread
            self.error = error

    def call(self, method, path, body=None, **more):
        status, answer = self.stage.call(method, path, body, base=next(self.bases), **more)
        assert status < 300, (method, path, status, answer)
        return answer

    def order(self, n):
        order_no, began = f"{self.name}-{n:06}", time.monotonic()
        body = {"order_no": order_no, "merchant": "main", "app": "shop", "amount_fen": 100, "description": "tea"}
        body |= {"trade_type": "JSAPI", "openid": OPENID, "client_ip": "127.0.0.1"}
        first = self.call("POST", "/v1/orders", body, key=f"key-{order_no}")
        # The same request to the other version is the same order.
        again = self.call("POST", "/v1/orders", body, key=f"key-{order_no}")
        assert again["order_token"] == first["order_token"], (first, again)
        until(f"{order_no} payable", lambda: self.state(order_no) == "payable")
        if n % 8 == 7:
            self.stage.fault("notify", "drop", order_no)
        self.stage.pay(order_no)
        self.paid.append(order_no)
        if n % 8 == 7:
            return
        if n % 4 == 1:
            self.stage.tell("notify", {"out_trade_no": order_no, "mch_id": MCH_ID})
        until(f"{order_no} paid", lambda: self.state(order_no) == "paid")
        self.took.append(time.monotonic() - began)
        if n % 3 == 0:
            self.refund(order_no)

    def state(self, order_no):
        return self.call("GET", f"/v1/orders/{order_no}?merchant=main")["state"]

    def refund(self, order_no):
        refund_no = f"R-{order_no}"
        self.stage.tell("refunds/outcome", {"mch_id": MCH_ID, "out_refund_no": refund_no, "outcome": "SUCCESS"})
        body = {"refund_no": refund_no, "amount_fen": 40, "reason": "换货"}
        for _ in range(2):
            answer = self.call("POST", f"/v1/orders/{order_no}/refunds?merchant=main", body, key=f"key-{refund_no}")
            assert answer["refund_no"] == refund_no, answer
        self.refunds.append(refund_no)


def scopes_of(stage, program):
    """All scopes, refunds among them; the file's own for a version from before that scope, where all keys refund."""
    scopes = {"WXPAY__API_KEYS__0__SCOPES": "orders,refunds,finance,ops"}
    config = stage.folder / "wxpay.toml"
    config.write_text(stage.config(APPS))
    checked = subprocess.run([program, "check-config", "--config", config], env=os.environ | scopes, capture_output=True)
    return scopes if checked.returncode == 0 else None


def run(stage, old, new, seconds, open_messages, of_new=None):
    stage.start_wechat()
    ports = {"old": free_port(), "new": free_port()}
    # The earlier version makes the database, as it did before the upgrade.
    programs = {"old": Path(old, "wxpayd"), "new": Path(new, "wxpayd")}
    scopes = {name: scopes_of(stage, program) for name, program in programs.items()}
    scopes["new"] = (scopes["new"] or {}) | (of_new or {})
    processes = [stage.start(program=programs[name], port=ports[name], env=scopes[name]) for name in ("old", "new")]
    balancer = Balancer(stage.port, ports.values())
    bases = [f"http://127.0.0.1:{port}" for port in ports.values()]
    end = time.monotonic() + seconds
    clients = [Client(stage, number, bases, end) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for error in (client.error for client in clients if client.error):
        raise error
    finish_refunds(stage, clients)
    until("every payment and refund in the ledgers", lambda: not differences(stage), SETTLES_WITHIN)
    until("the relay", lambda: stage.sql("SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL") == [["0"]])
    until("no open message", lambda: open_messages(stage) == 0)
    check(stage, clients)
    assert all(process.poll() is None for process in processes), "a process ended"
    report(stage, clients, balancer, ports, seconds)


def finish_refunds(stage, clients):
    """A refund that WeChat took on before its end was planned ends now."""
    wanted = {refund_no for client in clients for refund_no in client.refunds}
    known = lambda: {r["out_refund_no"] for r in stage.tell("ledger", None, "GET")["refunds"]}
    until("every refund at WeChat", lambda: wanted <= known())
    for refund in stage.tell("ledger", None, "GET")["refunds"]:
        if refund["status"] == "PROCESSING":
            end = {"mch_id": MCH_ID, "out_refund_no": refund["out_refund_no"], "outcome": "SUCCESS"}
            stage.tell("refunds/outcome", end)


def differences(stage):
    """What one ledger has and the other has not."""
    theirs = stage.tell("ledger", None, "GET")
    payments = collections.Counter((p["transaction_id"], "100") for p in theirs["payments"])
    ended = [r for r in theirs["refunds"] if r["status"] == "SUCCESS"]
    refunds = collections.Counter((r["out_refund_no"], r["refund_id"]) for r in ended)
    ours = collections.Counter(map(tuple, stage.sql("SELECT transaction_id, amount_fen FROM ledger")))
    our_refunds = collections.Counter(map(tuple, stage.sql("SELECT refund_no, refund_id FROM refund_ledger")))
    return (payments - ours) + (ours - payments) + (refunds - our_refunds) + (our_refunds - refunds)


def check(stage, clients):
    paid = sorted(order_no for client in clients for order_no in client.paid)
    refunds = sorted(refund_no for client in clients for refund_no in client.refunds)
    assert paid and refunds, "there was no load"
    column = lambda sql: sorted(row[0] for row in stage.sql(sql))
    assert column("SELECT order_no FROM ledger") == paid, "the ledger has other orders"
    assert column("SELECT refund_no FROM refund_ledger") == refunds, "the refund ledger has other refunds"
    announced = "SELECT order_no FROM outbox WHERE event_type = 'wxpay.order.paid.v1'"
    assert column(announced) == paid, "order.paid is not there once for each"
    assert column("SELECT order_no FROM orders WHERE state = 'paid'") == paid, "an order is not paid"
    for table in ("dead_letters", "deferred", "quarantine"):
        rows = stage.sql(f"SELECT * FROM {table}")
        assert rows == [], (table, rows)
    positions = [int(row[0]) for row in stage.sql("SELECT position FROM outbox ORDER BY position")]
    assert len(positions) == len(set(positions)), "two events have one position of the feed"


def report(stage, clients, balancer, ports, seconds):
    paid, took = sum(len(c.paid) for c in clients), sorted(t for c in clients for t in c.took)
    refunds = sum(len(c.refunds) for c in clients)
    handled = {}
    for name, port in ports.items():
        text = stage.http.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        handled[name] = sum(int(float(n)) for n in re.findall(r"^wxpay_worker_attempts_total\{.*\} (\S+)$", text, re.M))
        assert handled[name] > 0, f"the {name} version handled no message"
    print(
        f"side by side, {stage.bus.split(':')[0]}: {paid} orders paid and {refunds} refunded in {seconds} s, "
        f"p50 {took[len(took) // 2] * 1000:.0f} ms, p99 {took[len(took) * 99 // 100] * 1000:.0f} ms; messages handled: "
        f"old {handled['old']}, new {handled['new']}; notifying connections: old {balancer.counts[ports['old']]}, "
        f"new {balancer.counts[ports['new']]}; ledgers equal, no dead letter, no open message"
    )


def embedded(old, new, seconds):
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.closing(Stage(folder, Path(new), f"sqlite://{folder}/wxpay.db")) as stage:
            # A version before may have an intake log of its own, or accept into the queue.
            log = {"WXPAY__SERVER__INTAKE": "log"}
            waiting = lambda stage: int(stage.sql("SELECT COUNT(*) FROM bus_deliveries")[0][0])
            run(stage, old, new, seconds, waiting, log)
            logs = int(stage.sql("SELECT COUNT(*) FROM intake_logs WHERE position > 0")[0][0])
            assert logs in (1, 2), f"{logs} logs had a part"


def nats(old, new, seconds, postgres, nats_server):
    with tempfile.TemporaryDirectory() as folder:
        name = f"wxpay_side_by_side_{os.getpid()}"
        server, psql = postgres.rsplit("/", 1)[0], os.environ["PG_BIN"] + "/psql"
        subprocess.run([psql, "--quiet", "--command", f"CREATE DATABASE {name}", postgres], check=True)
        port, monitoring = free_port(), free_port()
        conf = Path(folder, "nats.conf")
        conf.write_text(
            f'host: 127.0.0.1\nport: {port}\nhttp: "127.0.0.1:{monitoring}"\n'
            f'jetstream {{ store_dir: "{folder}/nats", sync_interval: always }}\n'
        )
        with open(Path(folder, "nats.log"), "wb") as log:
            bus = subprocess.Popen([nats_server, "-c", conf], stdout=log, stderr=log)
        monitor = f"http://127.0.0.1:{monitoring}"

        def open_messages(stage):
            status = stage.http.get(monitor + "/jsz?consumers=1", timeout=10).json()
            streams = [s for account in status["account_details"] for s in account["stream_detail"]]
            consumers = [c for stream in streams for c in stream.get("consumer_detail") or []]
            assert consumers, status
            return sum(c["num_pending"] + c["num_ack_pending"] for c in consumers)

        try:
            stage = Stage(Path(folder, "stage"), Path(new), f"{server}/{name}", f"nats://127.0.0.1:{port}", [monitor])
            with contextlib.closing(stage):
                until("nats-server", lambda: stage.answers(monitor + "/healthz"))
                run(stage, old, new, seconds, open_messages)
        finally:
            Stage.kill(bus)
            drop = f"DROP DATABASE {name} WITH (FORCE)"
            subprocess.run([psql, "--quiet", "--command", drop, postgres], check=True)


if __name__ == "__main__":
    {"embedded": embedded, "nats": nats}[sys.argv[4]](sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[5:])
