// Checks that tenpay, a Node SDK nobody here wrote, works against the simulator with nothing but its base URL changed.
//
// usage: node tenpay.mjs [BASE_URL]      (or WXPAY_SANDBOX_URL; default http://127.0.0.1:19001)
// env:   WXPAY_TEST_NODE_MODULES         where tenpay is installed; default ./node_modules
//
// Prints one line per check and ends with status 1 when one failed. The merchant is the one of WeChat's signing example.
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const modules = process.env.WXPAY_TEST_NODE_MODULES || resolve('node_modules');
const Tenpay = createRequire(resolve(modules, '..', 'x.js'))('tenpay');
const base = (process.argv[2] || process.env.WXPAY_SANDBOX_URL || 'http://127.0.0.1:19001').replace(/\/$/, '');
const key = '192006250b4c09247ec02edce69f6a2d';
const openid = 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o';
const run = randomBytes(6).toString('hex');

let failed = 0;
const check = (name, ok, seen) => {
  console.log(`${ok ? 'ok  ' : 'FAIL'} tenpay: ${name}${ok ? '' : ` (saw ${JSON.stringify(seen)})`}`);
  failed += ok ? 0 : 1;
};
const refusal = (promise) => promise.then(() => 'no refusal', (error) => error.message);

// Express's request and response as far as the middleware uses them, so that no web framework is needed here.
const heard = [];
const waiting = [];
const hear = (entry) => (waiting.length ? waiting.shift()(entry) : heard.push(entry));
const next = () => new Promise((done, fail) => {
  if (heard.length) return done(heard.shift());
  const late = setTimeout(() => fail(new Error('no notification within 15 s')), 15_000);
  waiting.push((entry) => { clearTimeout(late); done(entry); });
});
let middleware;
const server = createServer(async (req, res) => {
  let body = '';
  for await (const chunk of req.setEncoding('utf8')) body += chunk;
  res.header = (name, value) => res.setHeader(name, value);
  res.send = (text) => res.end(text);
  const request = { body };
  let accepted = false;
  await middleware(request, res, () => { accepted = true; res.reply(); });
  hear({ accepted, weixin: request.weixin });
});
await new Promise((up) => server.listen(0, '127.0.0.1', up));
const notify_url = `http://127.0.0.1:${server.address().port}/notify`;

const pay = new Tenpay({ appid: 'wxd930ea5d5a258f4f', mchid: '10000100', partnerKey: key, notify_url, spbill_create_ip: '127.0.0.1' });
for (const [name, url] of Object.entries(pay.urls)) pay.urls[name] = url.replace(/^https:\/\/[^/]+/, base);
middleware = pay.middlewareForExpress('pay');

const control = async (path, body) => {
  const answer = await fetch(`${base}/_sandbox/${path}`, { method: 'POST', body: JSON.stringify(body) });
  return { status: answer.status, ...(await answer.json()) };
};

// By hand, not with the SDK: it must not vouch for itself.
const paySign = (p) => {
  const text = `appId=${p.appId}&nonceStr=${p.nonceStr}&package=${p.package}&signType=${p.signType}&timeStamp=${p.timeStamp}&key=${key}`;
  const digest = p.signType === 'MD5' ? createHash('md5') : createHmac('sha256', key);
  return digest.update(text, 'utf8').digest('hex').toUpperCase();
};

for (const sign_type of ['MD5', 'HMAC-SHA256']) {
  const out_trade_no = `TP${sign_type.slice(0, 2)}${run}`;
  const wanted = () => ({ out_trade_no, body: 'QQ公仔 & <b>', attach: '深圳', total_fee: '88', openid, sign_type });

  const params = await pay.getPayParams(wanted());
  check(`${sign_type}: an order is placed`, /^prepay_id=wx\w{34}$/.test(params.package), params.package);
  check(`${sign_type}: paySign is right`, params.paySign === paySign(params), params);
  check(`${sign_type}: the same order again succeeds`, (await pay.unifiedOrder({ ...wanted(), trade_type: 'JSAPI' })).result_code === 'SUCCESS');
  check(`${sign_type}: another amount is refused`,
    (await refusal(pay.unifiedOrder({ ...wanted(), total_fee: '89' }))) === 'INVALID_REQUEST');
  check(`${sign_type}: not paid yet`, (await pay.orderQuery({ out_trade_no, sign_type })).trade_state === 'NOTPAY');

  const payment = await control('pay', { mch_id: '10000100', out_trade_no });
  check(`${sign_type}: the payer pays`, payment.status === 200, payment);
  if (sign_type === 'MD5') {
    const told = await next();
    check('MD5: the middleware accepts the notification', told.accepted && told.weixin.transaction_id === payment.transaction_id, told);
    const again = await control('notify', { mch_id: '10000100', out_trade_no });
    check('MD5: and its answer satisfies WeChat', again.deliveries?.[0]?.outcome === 'acknowledged', again);
    await next();
    const forged = await control('notify', { mch_id: '10000100', out_trade_no, fault: 'tamper' });
    check('MD5: a tampered one is refused', !(await next()).accepted && forged.deliveries?.[0]?.outcome === 'refused', forged);
  } else {
    // A limit of the SDK: it takes MD5 for granted where a notification names no algorithm, and WeChat names none.
    const told = await next();
    check('HMAC-SHA256: the notification arrives', told.accepted === false, told);
  }
  const paid = await pay.orderQuery({ out_trade_no, sign_type });
  check(`${sign_type}: the query says paid`, paid.trade_state === 'SUCCESS' && paid.total_fee === '88', paid);
  check(`${sign_type}: by transaction_id, too`,
    (await pay.orderQuery({ transaction_id: payment.transaction_id, sign_type })).out_trade_no === out_trade_no);
  check(`${sign_type}: paid is paid`, (await refusal(pay.unifiedOrder({ ...wanted(), trade_type: 'JSAPI' }))) === 'ORDERPAID');
  check(`${sign_type}: a paid order is not closed`, (await refusal(pay.closeOrder({ out_trade_no, sign_type }))) === 'ORDERPAID');
}

const scan = await pay.unifiedOrder({ out_trade_no: `TPN${run}`, body: 'scan', total_fee: '1', trade_type: 'NATIVE', product_id: '1' });
check('NATIVE: a code to scan', scan.code_url?.startsWith('weixin://wxpay/bizpayurl?pr='), scan);
check('NATIVE: closing', (await pay.closeOrder({ out_trade_no: `TPN${run}` })).result_code === 'SUCCESS');
check('an unknown order is told apart', (await refusal(pay.orderQuery({ out_trade_no: `NONE${run}` }))) === 'ORDERNOTEXIST');

// What `Tenpay.sandbox` does, with another base URL.
const { sandbox_signkey } = await pay.getSignkey();
const sandbox = new Tenpay({ appid: pay.appid, mchid: pay.mchid, partnerKey: sandbox_signkey, notify_url, sandbox: true });
for (const [name, url] of Object.entries(sandbox.urls)) sandbox.urls[name] = url.replace(/^https:\/\/[^/]+/, base);
const tried = { out_trade_no: `TPS${run}`, body: 'sandbox', total_fee: '101', trade_type: 'NATIVE', product_id: '1' };
await sandbox.unifiedOrder(tried);
await control('pay', { mch_id: '10000100', out_trade_no: tried.out_trade_no });
const found = await sandbox.orderQuery({ out_trade_no: tried.out_trade_no });
check('the sandbox switch: an order is placed, paid and found', found.trade_state === 'SUCCESS', found);
const scanned = { out_trade_no: `TPM${run}`, body: 'code', total_fee: '1', auth_code: '134567890123456789' };
const refusals = [await refusal(pay.micropay(scanned)), await refusal(sandbox.micropay(scanned))];
check('what is not simulated is refused with a reason', refusals.join() === 'NOAUTH,NOAUTH', refusals);

pay.partnerKey = 'wrongwrongwrongwrongwrongwrong12';
check('a wrong key is refused', (await refusal(pay.orderQuery({ out_trade_no: `TPN${run}` }))) === '签名错误');

server.close();
server.closeAllConnections();
process.exitCode = failed ? 1 : 0;
