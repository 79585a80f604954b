"""The service and the simulator as processes, and HTTP to both. Everything listens on loopback."""

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parent.parent))
from ports import free_port

API_KEY = "test-api-key"
MERCHANTS = {
    "main": ("1900000109", "k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA", "HMAC-SHA256"),
    "second": ("1900000110", "Zq8Wn3Rt6Yb1Mc5Xv9Kd2Lf7Hg4Js0Pa", "MD5"),
}
# Key, number, kind, secret. WeChat does not know the last one as an app of any merchant: it refuses its orders.
APPS = [
    ("shop", "wx8888888888888888", "official_account", "s3cr3tOfTheShopApp4Flows0123456x"),
    ("mini", "wx7777777777777777", "mini_program", "s3cr3tOfTheMiniApp4Flows0123456x"),
    ("phone", "wx6666666666666666", "mobile", ""),
    ("stranger", "wx5555555555555555", "mobile", ""),
]
SESSION_KEY = "k3y-0f-the-fixture-0f-the-upgrade-test"
CALLBACK = "http://127.0.0.1:5173/pay"
STARTS_WITHIN = 60


def until(what, holds, within=60):
    """Polls over HTTP or SQL, where nothing signals."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {within} s")


class Stage:
    """One installation of the service: its database, its bus, its simulator."""

    def __init__(self, folder, bins, database, bus="embedded:", monitoring=()):
        self.folder, self.bins, self.database = Path(folder), Path(bins), database
        self.bus, self.monitoring = bus, list(monitoring)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.wechat_port, self.tls_port = free_port(), free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.wechat = f"http://127.0.0.1:{self.wechat_port}"
        self.refund_url = f"https://127.0.0.1:{self.tls_port}"
        self.certificates = self.folder / "certificates"
        self.http = requests.Session()
        self.http.trust_env = False
        self.processes = []

    # Processes.

    def config(self, apps):
        def listed(names):
            return "[" + ", ".join(f'"{name}"' for name in names) + "]"

        lines = [
            "[server]",
            f'listen = "127.0.0.1:{self.port}"',
            f'public_url = "{self.base}"',
            "order_wait_ms = 8000",
            "[store]",
            f'url = "{self.database}"',
            "max_connections = 8",
            "[bus]",
            f'url = "{self.bus}"',
            f"monitoring_urls = {listed(self.monitoring)}",
            "[wechat]",
            *(f'{name} = "{self.wechat}"' for name in ("pay_url", "pay_backup_url", "api_url", "open_url")),
            f'refund_url = "{self.refund_url}"',
            "connect_timeout_ms = 1000",
            "timeout_ms = 5000",
            "[web]",
            f'session_key = "{SESSION_KEY}"',
            'callback_origins = ["http://127.0.0.1:5173"]',
            "[log]",
            "json = true",
        ]
        if self.certificates.exists():
            lines.insert(lines.index("[web]"), f'pay_ca_file = "{self.certificates}/ca.pem"')
        for key, app_id, kind, secret in apps:
            lines += ["[[apps]]", f'key = "{key}"', f'app_id = "{app_id}"', f'kind = "{kind}"']
            lines += [f'secret = "{secret}"'] if secret else []
        for key, (mch_id, v2_key, sign_type) in MERCHANTS.items():
            lines += ["[[merchants]]", f'key = "{key}"', f'mch_id = "{mch_id}"', f'v2_key = "{v2_key}"']
            lines += [f'sign_type = "{sign_type}"', f"apps = {listed(app[0] for app in apps)}"]
            if self.certificates.exists():
                lines += ['paid_late = "refund"', 'paid_twice = "refund"'] if key == "second" else []
                lines.append(f'client_cert_file = "{self.certificates}/{mch_id}/apiclient_cert.pem"')
                lines.append(f'client_key_file = "{self.certificates}/{mch_id}/apiclient_key.pem"')
        digest = hashlib.sha256(API_KEY.encode()).hexdigest()
        lines += ["[[api_keys]]", 'name = "test"', f'hash = "sha256:{digest}"']
        # Of both versions: neither knows all words of the other.
        lines.append('scopes = ["orders", "finance", "ops"]')
        lines.append(f"merchants = {listed(MERCHANTS)}")
        return "\n".join(lines) + "\n"

    def spawn(self, name, command, env=None):
        log = open(self.folder / f"{name}.log", "ab")
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WXPAY__")} | (env or {})
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        self.processes.append(process)
        return process

    def start_wechat(self):
        config = self.folder / "wechat.toml"
        config.write_text(self.config(APPS[:3]))
        command = [self.bins / "wxpay-sandbox", "--listen", f"127.0.0.1:{self.wechat_port}"]
        command += ["--tls-listen", f"127.0.0.1:{self.tls_port}", "--config", config]
        command += ["--state", self.folder / "wechat.jsonl", "--certificates", self.certificates]
        self.simulator = self.spawn("wxpay-sandbox", command)
        until("the simulator", lambda: self.answers(self.wechat + "/_sandbox/ledger"), STARTS_WITHIN)

    def start(self, roles="ingress,worker,relay,scheduler", env=None, program=None, port=None):
        """Starts a process of the service with these roles and waits until it listens."""
        config = self.folder / "wxpay.toml"
        config.write_text(self.config(APPS))
        command = [program or self.bins / "wxpayd", "run", "--only", roles, "--config", config]
        listen = {"WXPAY__SERVER__LISTEN": f"127.0.0.1:{port}"} if port else {}
        process = self.spawn("wxpayd", command, listen | (env or {}))
        health = f"http://127.0.0.1:{port or self.port}/healthz"
        until("the service", lambda: process.poll() is None and self.answers(health), STARTS_WITHIN)
        return process

    def answers(self, url):
        try:
            return self.http.get(url, timeout=2).status_code == 200
        except requests.RequestException:
            return False

    @staticmethod
    def kill(process):
        process.kill()
        process.wait()

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)

    # The service.

    def call(self, method, path, body=None, wait=None, key=None, base=None):
        headers = {"authorization": f"Bearer {API_KEY}"}
        headers |= {"prefer": f"wait={wait}"} if wait is not None else {}
        headers |= {"idempotency-key": key} if key else {}
        answer = self.http.request(method, (base or self.base) + path, headers=headers, json=body, timeout=60)
        return answer.status_code, answer.json()

    def order(self, order_no, merchant="main"):
        status, order = self.call("GET", f"/v1/orders/{order_no}?merchant={merchant}")
        return order if status == 200 else None

    def until_order(self, order_no, state, merchant="main", within=60):
        def reached():
            order = self.order(order_no, merchant)
            return order and order["state"] == state and order

        return until(f"{order_no} {state}", reached, within)

    def until_refund(self, refund_no, state):
        def reached():
            status, refund = self.call("GET", f"/v1/refunds/{refund_no}?merchant=main")
            return status == 200 and refund["state"] == state

        until(f"{refund_no} {state}", reached)

    # The simulator.

    def tell(self, path, body, method="POST"):
        answer = self.http.request(method, f"{self.wechat}/_sandbox/{path}", json=body, timeout=30)
        assert answer.status_code < 300, (path, body, answer.text)
        return answer.json()

    def fault(self, on, kind, out_trade_no=None, **more):
        rule = {"on": on, "kind": kind} | ({"out_trade_no": out_trade_no} if out_trade_no else {}) | more
        self.tell("faults", [rule])

    def pay(self, out_trade_no, merchant="main", **more):
        return self.tell("pay", {"out_trade_no": out_trade_no, "mch_id": MERCHANTS[merchant][0]} | more)

    def calls(self, api, out_trade_no):
        """How often the simulator was called about a number."""
        seen = self.tell(f"requests?out_trade_no={out_trade_no}", None, "GET")
        return sum(r["count"] for r in seen["requests"] if r["api"] == api)

    # The database.

    def sql(self, statement):
        """Runs a statement and gives its rows as text."""
        if self.database.startswith("sqlite:"):
            with sqlite3.connect(self.database.removeprefix("sqlite://"), timeout=30) as db:
                return [[str(v) for v in row] for row in db.execute(statement)]
        psql = [os.environ["PG_BIN"] + "/psql", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet"]
        psql += ["--field-separator=\t", "--command", statement, self.database]
        out = subprocess.run(psql, check=True, capture_output=True, text=True).stdout
        return [line.split("\t") for line in out.splitlines() if line]
