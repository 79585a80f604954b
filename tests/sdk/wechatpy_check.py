"""Checks that wechatpy, a Python SDK nobody here wrote, works against the simulator with nothing but its base URL changed.

usage: python wechatpy_check.py [BASE_URL]      (or WXPAY_SANDBOX_URL; default http://127.0.0.1:19001)

Prints one line per check and ends with status 1 when one failed. The merchant is the one of WeChat's signing example.
"""

import hashlib
import json
import os
import queue
import sys
import threading
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wechatpy.exceptions import InvalidSignatureException, WeChatPayException
from wechatpy.pay import WeChatPay

ARGUMENT = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("WXPAY_SANDBOX_URL", "http://127.0.0.1:19001")
BASE = ARGUMENT.rstrip("/")
KEY = "192006250b4c09247ec02edce69f6a2d"
MCH_ID = "10000100"
OPENID = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
RUN = uuid.uuid4().hex[:12]
REPLY = "<xml><return_code><![CDATA[{}]]></return_code><return_msg><![CDATA[{}]]></return_msg></xml>"

failed = 0


def check(name, ok, seen=None):
    global failed
    print(f"{'ok  ' if ok else 'FAIL'} wechatpy: {name}" + ("" if ok else f" (saw {seen!r})"), flush=True)
    failed += 0 if ok else 1


def refusal(call, *args, **kwargs):
    """The err_code (or the return_msg of an unsigned refusal) that a call is refused with."""
    try:
        call(*args, **kwargs)
    except WeChatPayException as error:
        return error.errcode or error.return_msg
    return "no refusal"


def control(path, body):
    request = urllib.request.Request(f"{BASE}/_sandbox/{path}", json.dumps(body).encode(), method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=15) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


class Pay(WeChatPay):
    API_BASE_URL = BASE + "/"


pay = Pay("wxd930ea5d5a258f4f", KEY, MCH_ID, timeout=15)
pay._http.trust_env = False  # no proxy between us and loopback
heard = queue.Queue()


class Notify(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            heard.put(pay.parse_payment_result(body))
            reply = REPLY.format("SUCCESS", "OK")
        except InvalidSignatureException:
            heard.put(None)
            reply = REPLY.format("FAIL", "sign")
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply.encode())

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Notify)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
NOTIFY_URL = f"http://127.0.0.1:{server.server_port}/notify"

# Fixed once: computed anew for each call they would make every repeat another order.
START = datetime.now(timezone(timedelta(hours=8)))
TIMES = {"time_start": START, "time_expire": START + timedelta(hours=2)}


def place(number, amount_fen=88, **more):
    wanted = {"trade_type": "JSAPI", "user_id": OPENID, "attach": "深圳", **TIMES, **more}
    return pay.order.create(
        body="QQ公仔 & <b>", total_fee=amount_fen, notify_url=NOTIFY_URL, client_ip="127.0.0.1", out_trade_no=number, **wanted
    )


def main():
    number = f"PY{RUN}"
    order = place(number)
    check("an order is placed", len(order["prepay_id"]) == 36, order)
    check("the answer's signature holds", pay.check_signature(dict(order)), order)
    params = pay.jsapi.get_jsapi_params(order["prepay_id"])
    text = "&".join(f"{name}={params[name]}" for name in ("appId", "nonceStr", "package", "signType", "timeStamp"))
    by_hand = hashlib.md5(f"{text}&key={KEY}".encode()).hexdigest().upper()
    check("paySign is right", params["paySign"] == by_hand, params)
    check("the same order again succeeds", place(number)["prepay_id"] != order["prepay_id"])
    check("another amount is refused", refusal(place, number, amount_fen=89) == "INVALID_REQUEST")
    check("not paid yet", pay.order.query(out_trade_no=number)["trade_state"] == "NOTPAY")

    payment = control("pay", {"mch_id": MCH_ID, "out_trade_no": number})
    told = heard.get(timeout=15)
    check("the notification verifies", told is not None and told["transaction_id"] == payment["transaction_id"], told)
    again = control("notify", {"mch_id": MCH_ID, "out_trade_no": number})
    check("the merchant's answer satisfies WeChat", again["deliveries"][0]["outcome"] == "acknowledged", again)
    heard.get(timeout=15)
    control("notify", {"mch_id": MCH_ID, "out_trade_no": number, "fault": "tamper"})
    check("a tampered notification is refused", heard.get(timeout=15) is None)
    paid = pay.order.query(transaction_id=payment["transaction_id"])
    check("the query says paid", (paid["trade_state"], paid["total_fee"], paid["out_trade_no"]) == ("SUCCESS", "88", number), paid)
    check("the query's signature holds", pay.check_signature(dict(paid)), paid)
    check("paid is paid", refusal(place, number) == "ORDERPAID")
    check("a paid order is not closed", refusal(pay.order.close, number) == "ORDERPAID")

    scene = {"h5_info": {"type": "Wap", "wap_url": "https://m.example.com", "wap_name": "shop"}}
    signed = place(f"PYH{RUN}", trade_type="MWEB", user_id=None, scene_info=scene, sign_type="HMAC-SHA256")
    check("MWEB with HMAC-SHA256", signed["mweb_url"].startswith(BASE + "/_sandbox/cashier?prepay_id="), signed)
    check("and its signature has 64 digits", len(signed["sign"]) == 64, signed)
    scan = place(f"PYN{RUN}", trade_type="NATIVE", user_id=None, product_id="1")
    check("NATIVE: a code to scan", scan["code_url"].startswith("weixin://wxpay/bizpayurl?pr="), scan)
    check("closing", pay.order.close(f"PYN{RUN}")["result_code"] == "SUCCESS")
    check("closed is closed", refusal(place, f"PYN{RUN}", trade_type="NATIVE", user_id=None, product_id="1") == "ORDERCLOSED")
    check("an unknown order is told apart", refusal(pay.order.query, out_trade_no=f"NONE{RUN}") == "ORDERNOTEXIST")
    pay.api_key = "wrongwrongwrongwrongwrongwrong12"
    check("a wrong key is refused", refusal(pay.order.query, out_trade_no=number) == "签名错误")


main()
sys.exit(1 if failed else 0)
