// Front ends of tutorials on shared links: Vue 2, axios 0.21, a hash router and undecoded addresses, as in tests/browser/tutorial,
// against the service and the simulator behind one host.
//
// usage and env: as checkout.test.mjs
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Installation } from './installation.mjs';
import { Payer, startBrowser } from './payer.mjs';

const modules = process.env.WXPAY_TEST_NODE_MODULES || resolve('node_modules');
const SECRET = randomBytes(16).toString('hex');
/** What WeChat adds to a link that is shared with a friend, or to moments. */
const SHARED = ['?from=singlemessage&isappinstalled=0', '?from=timeline&isappinstalled=0', ''];

/** The files as npm has them: name, path, what they say they are, and the SHA-256 of their bytes. */
const LIBRARIES = [
  ['vue.js', 'vue/dist/vue.js', /^\/\*!\n \* Vue\.js v2\.7\.16\n/, '36b10d3b4920592a4ec26c064c429e9a3dfb4689235fdfc91e1736b681c76786'],
  ['axios.js', 'axios/dist/axios.js', /^\/\* axios v0\.21\.4 /, '002cd4254ce98f972486c1226fcaedb1507f0a856d401f514bb7729f60c5c698'],
];

let service;
let site;
let browser;

/** One host: the shop's files, and everything under /api/wechat forwarded to the service. */
async function serve(target) {
  const own = new URL('./tutorial/', import.meta.url);
  const files = new Map();
  for (const name of ['index.html', 'main.js']) files.set(name, await readFile(new URL(name, own), 'utf8'));
  for (const [name, path, version, hash] of LIBRARIES) {
    const text = await readFile(join(modules, path), 'utf8');
    assert.match(text, version);
    assert.equal(createHash('sha256').update(text).digest('hex'), hash, path);
    files.set(name, text);
  }
  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url, 'http://x');
    if (pathname.startsWith('/api/wechat/')) {
      const { host, port } = target();
      const passed = request({ host, port, path: asked.url, method: asked.method, headers: asked.headers }, (from) => {
        answer.writeHead(from.statusCode, from.headers);
        from.pipe(answer);
      });
      passed.on('error', () => answer.writeHead(502).end());
      return void asked.pipe(passed);
    }
    const name = /^\/(plain|scoped|encoded)\/([\w.]*)$/.exec(pathname)?.[2];
    const text = files.get(name === '' ? 'index.html' : name);
    if (text === undefined) return void answer.writeHead(404).end();
    const type = name?.endsWith('.js') ? 'text/javascript' : 'text/html';
    answer.writeHead(200, { 'Content-Type': `${type}; charset=utf-8`, 'Cache-Control': 'no-store' });
    answer.end(text.replace('{{jweixin}}', `${service.wechat}/_sandbox/jweixin.js`));
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

before(async () => {
  const { server, origin } = await serve(() => {
    const { hostname, port } = new URL(service.service);
    return { host: hostname, port };
  });
  site = { server, origin };
  const web = `
      [web]
      session_key = "${randomBytes(24).toString('hex')}"
      callback_origins = ["${origin}"]
  `;
  service = await Installation.prepare(process.env.WXPAYD, randomBytes(16).toString('hex'), web, {
    public_url: origin,
    secret: SECRET,
  });
  await service.run('ingress,worker,relay,scheduler');
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await service?.stop();
  await new Promise((closed) => (site ? site.server.close(closed) : closed()));
});

/** The ticket that the service has, as WeChat gives it to whoever has the app's secret. */
async function ticket() {
  const body = JSON.stringify({ grant_type: 'client_credential', appid: service.app_id, secret: SECRET });
  const { access_token } = await (await fetch(`${service.wechat}/cgi-bin/stable_token`, { method: 'POST', body })).json();
  const answer = await fetch(`${service.wechat}/cgi-bin/ticket/getticket?access_token=${access_token}&type=jsapi`);
  return (await answer.json()).ticket;
}

const signature = ({ jsapi_ticket, noncestr, timestamp, url }) =>
  createHash('sha1').update(`jsapi_ticket=${jsapi_ticket}&noncestr=${noncestr}&timestamp=${timestamp}&url=${url}`).digest('hex');

/** Opens a shared link and goes to where one pays: the fragment of an address that is not encoded may be lost on the way. */
async function enter(p, { folder, asks }, query) {
  await p.page.goto(`${site.origin}/${folder}/${query}#/pay?goods=1`);
  if (asks) await p.page.getByRole('button', { name: '同意' }).click();
  const heading = p.page.getByRole('heading');
  await heading.waitFor();
  if ((await heading.innerText()) === '首页') await p.page.getByRole('link', { name: '去支付' }).click();
  await p.page.locator('#sdk', { hasText: 'ready' }).waitFor();
}

async function leave(p) {
  await p.context.close();
  assert.deepEqual(p.errors, []);
}

async function paidOnce(order_no, fen) {
  const order = await service.request('GET', `/v1/orders/${order_no}?refresh=1`);
  assert.equal(order.state, 'paid');
  assert.equal(order.amount_fen, fen);
  const number = order.attempts[0].out_trade_no;
  const ledger = await (await fetch(`${service.wechat}/_sandbox/ledger?mch_id=${service.mch_id}&out_trade_no=${number}`)).json();
  assert.equal(ledger.payments.length, 1);
  assert.equal(ledger.payments[0].total_fee, fen);
}

it('the signature of the test is that of the published examples', async () => {
  const { vectors } = JSON.parse(await readFile(new URL('../vectors.json', import.meta.url), 'utf8'));
  const published = vectors.filter((vector) => vector.category === 'jssdk');
  assert.ok(published.length >= 3);
  for (const { inputs, expected, name } of published) {
    assert.equal(signature({ ...inputs, url: inputs.url.split('#')[0] }), expected.signature, name);
  }
});

/** What follows the fragment of an address that is not encoded never leaves the browser: the login is a silent one. */
const PAGES = [
  { folder: 'plain', asks: false, nickname: '' },
  { folder: 'scoped', asks: true, nickname: '小明' },
  { folder: 'encoded', asks: true, nickname: '小明' },
];

for (const shop of PAGES) {
  const { folder, asks, nickname } = shop;
  describe(`a front end of the kind ${folder}`, () => {
    for (const query of SHARED) {
      it(`logs in, signs its true address and pays by either way on ${query || 'a plain link'}`, async () => {
        const p = await Payer.with(browser, service);
        const logins = [];
        p.page.on('request', (asked) => asked.url().includes('/api/wechat/redirect') && logins.push(asked.url()));
        await enter(p, shop, query);
        await p.page.waitForFunction((name) => document.getElementById('user').textContent === name, nickname);
        assert.equal(logins.length, 1, logins.join('\n'));
        assert.equal(p.visits.some((url) => url.includes('/connect/oauth2/authorize')), asks);

        const [shown, fragment] = p.page.url().split('#');
        assert.ok(fragment.startsWith('/pay?goods=1'), fragment);
        assert.equal(shown, `${site.origin}/${folder}/${query}`, 'the page is where the link led');
        const { nonceStr: noncestr, timestamp, signature: given, url } = await p.page.evaluate(() => window.signed);
        assert.equal(url, shown);
        assert.equal(given, signature({ jsapi_ticket: await ticket(), noncestr, timestamp, url: shown }));
        const shared = await p.page.evaluate(() => window.wx.sandboxShared());
        assert.equal(shared.updateAppMessageShareData.link, shown);

        for (const [button, fen, ok] of [['微信支付', 1, 'get_brand_wcpay_request:ok'], ['立即购买', 100, 'chooseWXPay:ok']]) {
          await p.presses(button);
          await p.confirmsInWechat();
          await p.page.locator('#result', { hasText: ok }).waitFor();
          await p.page.locator('#status', { hasText: 'paid' }).waitFor();
          await paidOnce(await p.page.locator('#order').innerText(), fen);
          await p.page.reload();
          await p.page.locator('#sdk', { hasText: 'ready' }).waitFor();
        }
        await leave(p);
      });
    }

    it('is told of a payer who changes their mind, and pays the same order later', async () => {
      const p = await Payer.with(browser, service);
      await enter(p, shop, SHARED[0]);
      await p.presses('微信支付');
      await p.cancelsInWechat();
      await p.page.locator('#result', { hasText: 'get_brand_wcpay_request:cancel' }).waitFor();
      const first = await p.page.locator('#order').innerText();
      await p.presses('微信支付');
      await p.confirmsInWechat();
      await p.page.locator('#status', { hasText: 'paid' }).waitFor();
      assert.equal(await p.page.locator('#order').innerText(), first);
      await paidOnce(first, 1);
      await leave(p);
    });
  });
}
