"""Drives a service into every state that its database and its queue can hold.

What is asked over HTTP goes into `Journey.requests` with the answer, for the test to ask again.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit

import requests

from service import APPS, CALLBACK, MERCHANTS, SESSION_KEY, until

OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
# WeChat wants this between placing a number and closing it.
CLOSABLE_AFTER = 300
MWEB = {"client_ip": "203.0.113.7", "scene_info": {"h5_info": {"type": "Wap", "wap_url": "https://m.example.com", "wap_name": "shop"}}}
APP_IDS = {key: app_id for key, app_id, _, _ in APPS}
WAYS = {"JSAPI": {"openid": OPENID}, "NATIVE": {"product_id": "tea"}, "APP": {"app": "phone"}, "MWEB": MWEB}


class Journey:
    def __init__(self, stage):
        self.stage, self.requests, self.cookies = stage, [], {}
        self.began = time.monotonic()

    # What the business asks.

    def ask(self, what, path, body, **more):
        status, answer = self.stage.call("POST", path, body, **more)
        self.requests.append({"what": what, "path": path, "body": body, "key": more.get("key"), "answer": answer})
        return status, answer

    def order_body(self, order_no, way="JSAPI", amount=100, merchant="main", **more):
        body = {"order_no": order_no, "merchant": merchant, "app": "shop", "amount_fen": amount}
        body |= {"description": "测试商品", "trade_type": way, "client_ip": "127.0.0.1"}
        return body | WAYS[way] | more

    def place(self, order_no, *args, key=None, wait=None, **more):
        body = self.order_body(order_no, *args, **more)
        status, order = self.ask("order", "/v1/orders", body, key=key, wait=wait)
        assert status in (200, 202) and order["order_no"] == order_no, order
        return order

    def paid(self, order_no, **more):
        self.place(order_no, **more)
        merchant = more.get("merchant", "main")
        self.stage.until_order(order_no, "payable", merchant)
        self.stage.pay(order_no, merchant)
        return self.stage.until_order(order_no, "paid", merchant)

    def close(self, order_no):
        status, order = self.stage.call("POST", f"/v1/orders/{order_no}/close?merchant=main", wait=1)
        assert status in (200, 202), order

    @staticmethod
    def ahead(seconds):
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def attempt(self, order_no, way="NATIVE", merchant="main", **more):
        body = {"trade_type": way} | WAYS[way] | more
        return self.stage.call("POST", f"/v1/orders/{order_no}/attempts?merchant={merchant}", body, wait=1)

    def refund(self, order_no, refund_no=None, amount=None, key=None, wait=None):
        body = {"refund_no": refund_no, "amount_fen": amount, "reason": "换货"}
        body = {name: value for name, value in body.items() if value is not None}
        path = f"/v1/orders/{order_no}/refunds?merchant=main"
        status, refund = self.ask("refund", path, body, key=key, wait=wait)
        assert status in (200, 202, 422), refund
        return refund

    # What takes long: it is begun first.

    def early(self):
        stage = self.stage
        for order_no in ("U-CLOSED", "U-PAID-LATE"):
            self.place(order_no)
            self.close(order_no)
        for order_no in ("U-TWICE", "U-SWITCHED", "U-SWITCHING", "U-SWITCH-QUEUED"):
            self.place(order_no)
        self.place("U-SENT-BACK", merchant="second", expires_at=self.ahead(3600))
        self.orphan("U-ORPHAN-TOLD")
        self.log_in()
        self.refund_ends(1, "succeeded", "SUCCESS")
        self.refund_ends(3, "failed", "REFUNDCLOSE")
        self.paid("U-REFUSED")
        stage.fault("refund", "refuse", "U-REFUSED", err_code="PARAM_ERROR")
        self.refund("U-REFUSED", "R-REFUSED", 100)
        stage.until_refund("R-REFUSED", "failed")
        self.paid("U-KEYED", key="order-key", metadata={"cart": [1, 2], "名": "值"}, attach="a=b")
        self.refund("U-KEYED", amount=30, key="refund-key")

    def refund_ends(self, number, state, outcome):
        order_no, refund_no = f"U-REFUND-{number}", f"R-{state.upper()}"
        self.paid(order_no)
        self.refund(order_no, refund_no, 40)
        end = {"mch_id": MERCHANTS["main"][0], "out_refund_no": refund_no, "outcome": outcome}
        self.stage.tell("refunds/outcome", end)
        self.stage.until_refund(refund_no, state)

    def orphan(self, out_trade_no):
        """A payment of an order that only WeChat knows."""
        mch_id, v2_key, _ = MERCHANTS["main"]
        fields = {
            "appid": "wx8888888888888888", "mch_id": mch_id, "nonce_str": "n" * 16, "sign_type": "HMAC-SHA256",
            "body": "tea", "out_trade_no": out_trade_no, "total_fee": "100", "spbill_create_ip": "127.0.0.1",
            "notify_url": f"{self.stage.base}/notify/main/pay", "trade_type": "JSAPI", "openid": OPENID,
        }
        text = "&".join(f"{k}={fields[k]}" for k in sorted(fields)) + f"&key={v2_key}"
        fields["sign"] = hmac.new(v2_key.encode(), text.encode(), hashlib.sha256).hexdigest().upper()
        xml = "<xml>" + "".join(f"<{k}>{v}</{k}>" for k, v in fields.items()) + "</xml>"
        answer = self.stage.http.post(f"{self.stage.wechat}/pay/unifiedorder", data=xml.encode(), timeout=10)
        assert "prepay_id" in answer.text, answer.text
        self.stage.pay(out_trade_no)

    # The browser side.

    def log_in(self):
        stage = self.stage
        browser = requests.Session()
        browser.trust_env = False
        begin = f"{stage.base}/api/wechat/redirect?callback={quote(CALLBACK, safe='')}"
        to_wechat = browser.get(begin, allow_redirects=False, timeout=10)
        back = browser.get(to_wechat.headers["location"].split("#")[0], allow_redirects=False, timeout=10)
        assert back.is_redirect, back.text
        landed = browser.get(back.headers["location"], allow_redirects=False, timeout=10)
        assert landed.headers["location"] == CALLBACK, landed.text
        self.cookies = {"session": browser.cookies["wxpay_session"]}
        wallet = until("a wallet order", lambda: self.wallet(browser))
        self.cookies["wallet_order_no"] = wallet
        # A login that is still under way.
        other = requests.Session()
        other.trust_env = False
        away = other.get(begin, allow_redirects=False, timeout=10).headers["location"]
        name = next(c.name for c in other.cookies if c.name.startswith("wxpay_login_"))
        self.cookies["login"] = {"name": name, "value": other.cookies[name]}
        self.cookies["login"]["state"] = parse_qs(urlsplit(away).query)["state"][0]
        code = stage.tell("platform/mini_code", {})["code"]
        mini = stage.http.post(f"{stage.base}/api/wechat/mini/login", json={"code": code}, timeout=10).json()
        self.cookies["mini"] = mini["data"]["session"]

    def wallet(self, browser):
        answer = browser.get(f"{self.stage.base}/api/wechat/pay/payWallet?money=250", timeout=30).json()
        return answer["code"] == 0 and answer["data"]["order_no"]

    def tokens(self):
        """The values that are sealed in the database, opened by other means than the service's."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        opened = {}
        for app, kind, sealed in self.stage.sql("SELECT app, kind, sealed FROM platform_tokens"):
            whole = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            key = HKDF(hashes.SHA256(), 32, b"wxpay-worker/seal/v1", b"platform_token").derive(SESSION_KEY.encode())
            value = AESGCM(key).decrypt(whole[:12], whole[12:], f"{app}/{APP_IDS[app]}/{kind}".encode())
            opened[f"{app}/{kind}"] = value.decode()
        assert len(opened) == 3, opened
        return opened

    # Five minutes later.

    def closable(self):
        stage = self.stage
        time.sleep(max(0, self.began + CLOSABLE_AFTER + 5 - time.monotonic()))
        stage.fault("closeorder", "drop", "U-SWITCHING")
        self.attempt("U-SWITCHING")
        self.attempt("U-TWICE")
        self.attempt("U-SWITCHED")
        # As little time as WeChat lets an order have, and a little more.
        self.attempt("U-SENT-BACK", merchant="second", expires_at=self.ahead(70))
        stage.until_order("U-CLOSED", "closed")
        stage.until_order("U-PAID-LATE", "closed")
        stage.pay("U-PAID-LATE", late=True)
        stage.until_order("U-PAID-LATE", "paid")
        second = until("U-TWICE's second attempt", lambda: self.current("U-TWICE", 2))
        stage.pay(second)
        stage.until_order("U-TWICE", "paid")
        stage.pay("U-TWICE", late=True)
        until("U-TWICE paid twice", lambda: "paid_twice" in stage.order("U-TWICE")["flags"])
        switched = until("U-SWITCHED's second attempt", lambda: self.current("U-SWITCHED", 2))
        # Paid in time; the service learns of it only after the late payment was refunded.
        second = until("U-SENT-BACK's second attempt", lambda: self.current("U-SENT-BACK", 2, "second"))
        stage.fault("orderquery", "drop", second)
        stage.fault("notify", "drop", second)
        stage.pay(second, "second")
        self.number_taken = switched

    def current(self, order_no, n, merchant="main"):
        order = self.stage.order(order_no, merchant)
        payable = len(order["attempts"]) == n and order["attempts"][-1]["state"] == "payable"
        return payable and order["attempts"][-1]["out_trade_no"]

    def sent_back(self):
        expires_at = datetime.fromisoformat(self.stage.order("U-SENT-BACK", "second")["expires_at"])
        time.sleep(max(0, (expires_at - datetime.now(UTC)).total_seconds() + 1.5))
        self.stage.pay("U-SENT-BACK", "second", late=True)
        paid = self.stage.until_order("U-SENT-BACK", "paid", "second")
        assert paid["flags"] == ["paid_late"], paid
        refunds = lambda: self.stage.order("U-SENT-BACK", "second")["refunds"]
        until("U-SENT-BACK's refund at WeChat", lambda: any(r["state"] == "processing" for r in refunds()))

    # What is open at the end.

    def late(self):
        stage = self.stage
        for order_no, way in (("U-OPEN-1", "JSAPI"), ("U-OPEN-2", "NATIVE"), ("U-OPEN-3", "APP"), ("U-OPEN-4", "MWEB")):
            self.place(order_no, way)
        self.place("U-OPEN-MD5", merchant="second")
        for order_no in ("U-LOST-1", "U-LOST-2", "U-MISMATCH"):
            stage.fault("orderquery", "drop", order_no)
            if order_no == "U-MISMATCH":
                stage.fault("notify", "forge_amount", order_no, times=1)
            stage.fault("notify", "drop", order_no)
            self.place(order_no)
            stage.pay(order_no)
        until("U-MISMATCH flagged", lambda: "amount_mismatch" in stage.order("U-MISMATCH")["flags"])
        for order_no, kind in (("U-UNKNOWN-1", "answer_lost"), ("U-UNKNOWN-2", "drop")):
            stage.fault("orderquery", "drop", order_no)
            stage.fault("unifiedorder", kind, order_no)
            self.place(order_no, wait=1)
            until(f"{order_no} unknown", lambda: "outcome_unknown" in stage.order(order_no)["flags"])
        status, refused = self.ask("order", "/v1/orders", self.order_body("U-FAILED", app="stranger"))
        assert (status, refused["code"]) == (422, "order_failed"), refused
        self.place("U-CLOSING")
        self.close("U-CLOSING")
        self.place("U-STALE")
        # Another order's attempt has this number: its message is parked.
        stage.call("POST", "/v1/orders", self.order_body(self.number_taken), wait=0)
        self.orphan("U-ORPHAN-WAITS")
        # WeChat ends it after five minutes.
        self.refund_ends(2, "abnormal", "CHANGE")
        refunds = {"R-PROCESSING": {}, "R-NOTICE": {}, "R-ASKED": {}, "R-UNKNOWN": {"kind": "answer_lost"}}
        refunds |= {"R-DELAYED": {"kind": "refuse", "err_code": "NOTENOUGH"}}
        for refund_no, fault in refunds.items():
            order_no = f"U-OF-{refund_no}"
            self.paid(order_no)
            if fault:
                stage.fault("refund", out_trade_no=order_no, **fault)
                stage.fault("refundquery", "drop", order_no)
            self.refund(order_no, refund_no, 100, wait=2)
        for refund_no, state in (("R-UNKNOWN", "unknown"), ("R-DELAYED", "requested"), ("R-NOTICE", "processing")):
            stage.until_refund(refund_no, state)
        for order_no in ("U-OF-R-QUEUED", "U-OF-R-HUNG"):
            self.paid(order_no)
        count = "SELECT COUNT(*) FROM "
        until("a deferred message", lambda: stage.sql(count + "deferred") != [["0"]])
        until("dead letters", lambda: int(stage.sql(count + "dead_letters")[0][0]) >= 3)
        relayed = count + "outbox WHERE relayed_at_ms IS NULL"
        until("the relay", lambda: stage.sql(relayed) == [["0"]])
        status, page = stage.call("GET", "/v1/events?limit=20")
        self.feed = {"cursor": page["next"], "read": [event["id"] for event in page["events"]]}

    # Deliveries under way at the end of a process, and events that no relay has seen.

    def in_flight(self):
        stage = self.stage
        stage.fault("unifiedorder", "hang", "U-HUNG")
        stage.fault("refund", "hang", "U-OF-R-HUNG")
        stage.fault("orderquery", "hang", "U-OPEN-4")
        # The second order that is recorded is the last thing this process does.
        process = stage.start("ingress,worker", {"WXPAY_CRASH_AT": "worker.order_recorded:2"})
        self.paid_unrelayed()
        asked = [
            lambda: self.stage.call("POST", "/v1/orders", self.order_body("U-HUNG"), wait=20),
            lambda: self.refund("U-OF-R-HUNG", "R-HUNG", 100, wait=20),
            lambda: stage.call("GET", "/v1/orders/U-OPEN-4?merchant=main&refresh=1"),
        ]
        threads = [threading.Thread(target=self.unanswered, args=[ask]) for ask in asked]
        for thread in threads:
            thread.start()
        # The simulator counts a call before it hangs.
        for api, number in (("unifiedorder", "U-HUNG"), ("refund", "U-OF-R-HUNG"), ("orderquery", "U-OPEN-4")):
            until(f"{api} of {number}", lambda: stage.calls(api, number))
        self.unanswered(lambda: stage.call("POST", "/v1/orders", self.order_body("U-RECORDED"), wait=20))
        process.wait(timeout=30)
        for thread in threads:
            thread.join()
        self.requests += [
            {"what": "order", "path": "/v1/orders", "body": self.order_body(order_no), "key": None, "answer": None}
            for order_no in ("U-HUNG", "U-RECORDED")
        ]
        self.requests.append({
            "what": "refund", "path": "/v1/orders/U-OF-R-HUNG/refunds?merchant=main", "key": None, "answer": None,
            "body": {"refund_no": "R-HUNG", "amount_fen": 100, "reason": "换货"},
        })

    def paid_unrelayed(self):
        """A payment of an order from before: its news has no relay."""
        self.stage.pay("U-OPEN-2")
        self.stage.until_order("U-OPEN-2", "paid")

    @staticmethod
    def unanswered(ask):
        try:
            ask()
        except requests.RequestException:
            pass

    # Commands of every kind that no worker has seen.

    def queued(self):
        stage = self.stage
        process = stage.start("ingress")
        self.place("U-QUEUED-1", wait=0)
        self.place("U-QUEUED-2", "NATIVE", wait=0, key="queued-key")
        self.unhurried("POST", "/v1/orders/U-OPEN-3/close?merchant=main")
        native = {"trade_type": "NATIVE", "product_id": "tea"}
        self.unhurried("POST", "/v1/orders/U-SWITCH-QUEUED/attempts?merchant=main", native)
        self.unhurried("GET", "/v1/orders/U-OPEN-1?merchant=main&refresh=1")
        older = "UPDATE attempts SET prepay_issued_at_ms = prepay_issued_at_ms - 7000000"
        stage.sql(f"{older} WHERE out_trade_no = 'U-STALE'")
        self.unhurried("GET", "/v1/orders/U-STALE/pay-params?merchant=main")
        stage.pay("U-OPEN-MD5", "second")
        acknowledged = lambda: any(d["outcome"] == "acknowledged" for d in self.deliveries("U-OPEN-MD5", "second"))
        until("the notification's acknowledgement", acknowledged)
        self.refund("U-OF-R-QUEUED", "R-QUEUED", 100, wait=0)
        self.unhurried("GET", "/v1/refunds/R-ASKED?merchant=main&refresh=1")
        end = {"mch_id": MERCHANTS["main"][0], "out_refund_no": "R-NOTICE", "outcome": "SUCCESS"}
        stage.tell("refunds/outcome", end)
        refunded = lambda: [d for d in self.deliveries("U-OF-R-NOTICE") if d.get("refund")]
        acknowledged = lambda: any(d["outcome"] == "acknowledged" for d in refunded())
        until("the refund notification's acknowledgement", acknowledged)
        self.orders = {}
        for request in self.requests:
            if request["what"] == "order":
                order_no, merchant = request["body"]["order_no"], request["body"]["merchant"]
                if order := stage.order(order_no, merchant):
                    self.orders[order_no] = order
        stage.kill(process)

    def unhurried(self, method, path, body=None):
        """A request that waits for a worker that is not there."""
        self.unanswered(lambda: self.stage.call(method, path, body, wait=0))

    def deliveries(self, out_trade_no, merchant="main"):
        query = f"ledger?mch_id={MERCHANTS[merchant][0]}&out_trade_no={out_trade_no}"
        return self.stage.tell(query, None, "GET")["deliveries"]
