"""Checks that wechatpy, a Python SDK nobody here wrote, works against the simulator with nothing but its base URL changed.

usage: python wechatpy_check.py [BASE_URL]      (or WXPAY_SANDBOX_URL; default http://127.0.0.1:19001)

Prints one line per check and ends with status 1 when one failed. The merchant is the one of WeChat's signing example, the apps'
secrets are those that the simulator prints when it starts.
"""

import hashlib
import json
import os
import queue
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from requests.adapters import HTTPAdapter
from wechatpy.client import WeChatClient
from wechatpy.client.api import WeChatWxa
from wechatpy.exceptions import InvalidSignatureException, WeChatClientException, WeChatOAuthException, WeChatPayException
from wechatpy.oauth import WeChatOAuth
from wechatpy.pay import WeChatPay

ARGUMENT = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("WXPAY_SANDBOX_URL", "http://127.0.0.1:19001")
BASE = ARGUMENT.rstrip("/")
KEY = "192006250b4c09247ec02edce69f6a2d"
MCH_ID = "10000100"
APPID, SECRET = "wxd930ea5d5a258f4f", "example0secret0of0the0account000"
MINI_APPID, MINI_SECRET = "wx6d5a258f4fd930ea", "example0secret0of0mini0program00"
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


pay = Pay(APPID, KEY, MCH_ID, timeout=15)
pay._http.trust_env = False  # no proxy between us and loopback
test = Pay(APPID, KEY, MCH_ID, timeout=15, sandbox=True)
test._http.trust_env = False
heard = queue.Queue()


class Notify(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            heard.put((test if self.path.endswith("/test") else pay).parse_payment_result(body))
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


def place(number, amount_fen=88, shop=pay, **more):
    wanted = {"trade_type": "JSAPI", "user_id": OPENID, "attach": "深圳", **TIMES, **more}
    return shop.order.create(
        body="QQ公仔 & <b>", total_fee=amount_fen, client_ip="127.0.0.1", out_trade_no=number,
        notify_url=NOTIFY_URL + ("/test" if shop is test else ""), **wanted
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


def test_environment():
    number = f"PYT{RUN}"
    order = place(number, shop=test)
    check("the sandbox switch gets a key", test.sandbox_api_key not in (None, KEY), test.sandbox_api_key)
    check("an order of the sandbox is placed", len(order["prepay_id"]) == 36, order)
    check("the sandbox's key signs the answer", test.check_signature(dict(order)), order)
    payment = control("pay", {"mch_id": MCH_ID, "out_trade_no": number})
    told = heard.get(timeout=15)
    check("the sandbox's key signs the notification", told is not None and told["total_fee"] == 88, told)
    paid = test.order.query(transaction_id=payment["transaction_id"])
    check("the sandbox's query says paid", paid["trade_state"] == "SUCCESS", paid)
    refund = test.refund.apply(total_fee=88, refund_fee=8, out_refund_no=f"PYTR{RUN}", out_trade_no=number, op_user_id=None)
    check("the sandbox refunds without a certificate", refund["refund_fee"] == "8", refund)
    impostor = Pay(APPID, KEY[::-1], MCH_ID, timeout=15, sandbox=True)
    impostor._http.trust_env = False
    check("a wrong key gets no key", impostor.sandbox_api_key is None)
    fresh = Pay(APPID, KEY, MCH_ID, timeout=15)
    fresh._http.trust_env = False
    check("what is not simulated is refused with a reason", refusal(fresh.tools.short_url, "weixin://wxpay/bizpayurl") == "NOAUTH")
    check("also in the sandbox", refusal(test.tools.short_url, "weixin://wxpay/bizpayurl") == "NOAUTH")


class OAuth(WeChatOAuth):
    API_BASE_URL = BASE + "/"
    OAUTH_BASE_URL = BASE + "/connect/"


class ToSimulator(HTTPAdapter):
    """The SDK's base URL is not used for fetching a token: that address is written out in it."""

    def send(self, request, **kwargs):
        request.url = request.url.replace("https://api.weixin.qq.com", BASE)
        return super().send(request, **kwargs)


class Client(WeChatClient):
    API_BASE_URL = BASE + "/cgi-bin/"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._http.trust_env = False
        self._http.mount("https://api.weixin.qq.com", ToSimulator())


def errcode(call, *args, **kwargs):
    """The errcode that a call of the platform is refused with."""
    try:
        call(*args, **kwargs)
    except (WeChatClientException, WeChatOAuthException) as error:
        return error.errcode
    return 0


def come_back(oauth, form=None):
    """Opens the login page as a browser does, and answers where it leads back to."""
    url = oauth.authorize_url.split("#")[0]
    answer = oauth._http.post(url, data=form, allow_redirects=False) if form else oauth._http.get(url, allow_redirects=False)
    target = urllib.parse.urlsplit(answer.headers["location"])
    return dict(urllib.parse.parse_qsl(target.query))


def login():
    back = "http://127.0.0.1:8080/cb?next=/pay/确认&x=1"
    oauth = OAuth(APPID, SECRET, back, state="a1B2c3")
    oauth._http.trust_env = False
    returned = come_back(oauth)
    check("the login page takes its address and gives back the state", returned["state"] == "a1B2c3" and returned["x"] == "1", returned)
    first = oauth.fetch_access_token(returned["code"])
    check("a code gives the openid", first["openid"] == oauth.open_id and first["scope"] == "snsapi_base", first)
    check("a code works once", errcode(oauth.fetch_access_token, returned["code"]) == 40163)
    check("the silent scope tells no profile", errcode(oauth.get_user_info) == 48001)
    oauth.scope = "snsapi_userinfo"
    returned = come_back(oauth, {"action": "allow", "user": "1"})
    granted = oauth.fetch_access_token(returned["code"])
    profile = oauth.get_user_info()
    check("the user who agreed tells a name", (profile["openid"], profile["nickname"]) == (granted["openid"], "小红"), profile)
    check("the user's token is good", oauth.check_access_token() is True)
    check("the user's token is prolonged", oauth.refresh_access_token(granted["refresh_token"])["openid"] == granted["openid"])
    check("a refusal has no code", "code" not in come_back(oauth, {"action": "deny"}))


def tokens():
    client = Client(APPID, SECRET, timeout=15)
    ticket = client.jsapi.get_ticket()
    check("a token is fetched, and a ticket with it", ticket["errcode"] == 0 and ticket["expires_in"] == 7200, ticket)
    page, nonce, now = "http://127.0.0.1:8080/demo?from=menu", "Wm3WZYTPz0wzccnW", int(time.time())
    signature = client.jsapi.get_jsapi_signature(nonce, ticket["ticket"], now, page)
    config = {"url": page, "appId": APPID, "timestamp": now, "nonceStr": nonce, "signature": signature, "jsApiList": ["chooseWXPay"]}
    held = control("bridge/config", config)
    check("the browser takes its signature", held["errMsg"] == "config:ok", held)
    refused = control("bridge/config", {**config, "url": page + "&x=1"})
    check("and not for another page", refused["errMsg"] == "config:invalid signature", refused)
    dead = client.session.get(client.access_token_key)
    control("platform/kill_tokens", {"appid": APPID})
    check("a dead token is replaced and the call repeated", client.jsapi.get_ticket()["errcode"] == 0)
    check("by another one", client.session.get(client.access_token_key) != dead)
    wrong = Client(APPID, SECRET[::-1], timeout=15)
    check("a wrong secret gets no token", errcode(wrong.fetch_access_token) == 40001)


def mini_program():
    client = Client(MINI_APPID, MINI_SECRET, timeout=15)
    issued = control("platform/mini_code", {"openid": OPENID})
    wxa = WeChatWxa(client)
    wxa.API_BASE_URL = BASE + "/"
    session = wxa.code_to_session(issued["code"])
    check("a mini program's code gives its session", session["openid"] == OPENID and len(session["session_key"]) == 24, session)
    check("once", errcode(wxa.code_to_session, issued["code"]) == 40163)


main()
test_environment()
login()
tokens()
mini_program()
sys.exit(1 if failed else 0)
