// Checks that tenpay, a Node SDK nobody here wrote, refunds at the simulator with the .p12 the simulator made.
//
// usage: node tenpay_refund.mjs BASE_URL REFUND_BASE_URL P12_FILE
// env:   WXPAY_TEST_NODE_MODULES   where tenpay is installed; default ./node_modules
//        NODE_EXTRA_CA_CERTS       the simulator's ca.pem
//
// Prints one line per check and ends with status 1 when one failed. The merchant is the one of WeChat's signing example;
// the simulator's time is expected to run fast enough for a refund to end within seconds.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const modules = process.env.WXPAY_TEST_NODE_MODULES || resolve('node_modules');
const Tenpay = createRequire(resolve(modules, '..', 'x.js'))('tenpay');
const [base, refundBase, p12] = process.argv.slice(2);
const run = randomBytes(6).toString('hex');

let failed = 0;
const check = (name, ok, seen) => {
  console.log(`${ok ? 'ok  ' : 'FAIL'} tenpay: ${name}${ok ? '' : ` (saw ${JSON.stringify(seen)})`}`);
  failed += ok ? 0 : 1;
};
const refusal = (promise) => promise.then(() => 'no refusal', (error) => error.message);

// Express's request and response as far as the middleware uses them.
let middleware;
let tell;
const told = new Promise((done, fail) => {
  const late = setTimeout(() => fail(new Error('no refund notification within 60 s')), 60_000);
  tell = (entry) => { clearTimeout(late); done(entry); };
});
const server = createServer(async (req, res) => {
  let body = '';
  for await (const chunk of req.setEncoding('utf8')) body += chunk;
  res.header = (name, value) => res.setHeader(name, value);
  res.send = (text) => res.end(text);
  const request = { body };
  let accepted = false;
  await middleware(request, res, () => { accepted = true; res.reply(); });
  tell({ accepted, weixin: request.weixin });
});
await new Promise((up) => server.listen(0, '127.0.0.1', up));
const refund_url = `http://127.0.0.1:${server.address().port}/refund`;

const sdk = (pfx) => {
  const pay = new Tenpay({
    appid: 'wxd930ea5d5a258f4f', mchid: '10000100', partnerKey: '192006250b4c09247ec02edce69f6a2d', pfx,
    notify_url: 'http://127.0.0.1:9/notify', refund_url, spbill_create_ip: '127.0.0.1',
  });
  for (const [name, url] of Object.entries(pay.urls)) {
    pay.urls[name] = url.replace(/^https:\/\/[^/]+/, url.includes('/secapi/') ? refundBase : base);
  }
  return pay;
};
const pay = sdk(readFileSync(p12));
middleware = pay.middlewareForExpress('refund');

const out_trade_no = `TR${run}`;
const out_refund_no = `RF${run}`;
const openid = 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o';
const { package: handle } = await pay.getPayParams({ out_trade_no, body: 'QQ', total_fee: '88', openid });
const wanted = (refund_fee) => ({ out_trade_no, out_refund_no, total_fee: '88', refund_fee });
check('an unpaid order is not refunded', (await refusal(pay.refund(wanted('30')))) === 'ORDERNOTEXIST');
await fetch(`${base}/_sandbox/pay`, { method: 'POST', body: JSON.stringify({ prepay_id: handle.slice('prepay_id='.length) }) });

check('without a certificate there is no refund', (await refusal(sdk(undefined).refund(wanted('30')))) === 'request fail');
const taken = await pay.refund(wanted('30'));
check('the refund is taken on', taken.refund_fee === '30' && taken.out_refund_no === out_refund_no, taken);
check('the same again is the same refund', (await pay.refund(wanted('30'))).refund_id === taken.refund_id);
check('other amounts are refused', (await refusal(pay.refund(wanted('31')))) === 'REFUND_FEE_MISMATCH');

const { accepted, weixin } = await told;
check('the middleware opens the refund notification', accepted && weixin.req_info.refund_status === 'SUCCESS', weixin);
check('it is about this refund', weixin.req_info.refund_id === taken.refund_id && weixin.req_info.refund_fee === '30', weixin);
const asked = await pay.refundQuery({ out_refund_no });
check('the refund query says refunded', asked.refund_status_0 === 'SUCCESS' && asked.refund_fee_0 === '30', asked);
check('the order query says refund', (await pay.orderQuery({ out_trade_no })).trade_state === 'REFUND');

server.close();
process.exit(failed ? 1 : 0);
