// Ledger, reconciliation, months and webhooks at the console: what a clerk does on a red day, what a viewer may not, and
// that nothing of what callers, bills and receivers wrote runs.
//
// usage and env: as checkout.test.mjs
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';

import { Installation, until } from './installation.mjs';
import { accepts, openConsole } from './operator.mjs';
import { startBrowser } from './payer.mjs';

const PASSWORD = 'a password for the tests';
const KEY = 'k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA';
const EVIL = '<img src=x onerror="window.hacked=1">';
const EVIL_NUMBER = '<img/src=x/onerror=window.hacked=1>';
const OPENID = 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o';
const WIDTHS = ['desktop', 'phone'];

let place;
let browser;
let receiver;
let day;

/** The newest day of which WeChat has a bill: from ten in Beijing on that is yesterday. */
function newestBill() {
  const beijing = new Date(Date.now() + 8 * 3_600_000);
  const back = beijing.getUTCHours() >= 10 ? 1 : 2;
  return new Date(beijing.getTime() - back * 86_400_000).toISOString().slice(0, 10);
}

/** Takes events, and refuses those at `/refuses`, with an answer that no page may run. */
async function startReceiver() {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.statusCode = request.url === '/refuses' ? 410 : 200;
      response.end(EVIL);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: (path) => `http://127.0.0.1:${server.address().port}${path}`, stop: () => server.close() };
}

const person = (width, lang, theme) => openConsole(browser, place.service, PASSWORD, { width, lang, theme });

async function order(order_no, amount_fen) {
  const body = { order_no, amount_fen, description: EVIL, attach: EVIL, trade_type: 'JSAPI', openid: OPENID };
  await place.request('POST', '/v1/orders', body);
}

const state = async () => (await place.request('GET', `/v1/reconciliations/main/${day}`)).state;

before(async () => {
  receiver = await startReceiver();
  const webhooks = `
      [webhooks]
      key = "a-key-of-the-browser-tests-0123456789abcdef"
      allow_http = true
      allow_networks = ["127.0.0.0/8"]
      [reconcile]
      schedule = false
  `;
  place = await Installation.prepare(process.env.WXPAYD, KEY, webhooks);
  await place.run('ingress,worker,relay,scheduler');
  browser = await startBrowser();
  for (const [name, role] of [['clerk', 'operator'], ['watcher', 'viewer'], ['boss', 'admin']]) {
    await accepts(browser, place.service, await place.invitation(name, role), PASSWORD);
  }
  await order('FIN0000001', 123_456);
  await order('FIN0000002', 500);
  await place.control('pay', { out_trade_no: 'FIN0000001' });
  await until('the payment', async () => (await place.request('GET', '/v1/orders/FIN0000001')).state === 'paid');
  // In the bill of a day that is over: a payment of an order of ours, and one that no query can find.
  day = newestBill();
  const extra = (out_trade_no, total_fee) => ({ kind: 'extra', day, out_trade_no, total_fee });
  await place.control('bills/differences', { differences: [extra('FIN0000002', 500), extra(EVIL_NUMBER, 77)] });
  await place.request('POST', '/v1/reconciliations', { merchant: 'main', date: day });
  await until('the result', async () => (await state()) === 'red');
});

after(async () => {
  await browser?.close();
  await place?.stop();
  receiver?.stop();
});

describe('finance at the console', () => {
  it('a clerk finds the red day, reads the plan, repairs, and explains what is left', async () => {
    const { page, shows, opens, logs_in, leaves } = await person('desktop', 'en', 'light');
    await logs_in('clerk');
    await page.getByText('the bill differs, open lines 2').waitFor();
    await shows('finance-overview');
    await page.locator(`.todo a[href="/console/reconciliation/main/${day}"]`).click();
    await page.getByText('missing here').first().waitFor();
    await shows('finance-red');
    await page.getByRole('link', { name: 'Repair (2)' }).click();
    await page.getByText('ask WeChat about the order').first().waitFor();
    await shows('finance-plan');
    await page.locator('textarea[name=reason]').fill(EVIL);
    await page.getByRole('button', { name: /^Repair \(/ }).click();
    await page.locator('.badge', { hasText: 'asked' }).first().waitFor();
    assert.ok(await page.getByText('FIN0000002').count() === 0, 'the result names lines');
    await shows('finance-repaired');
    await page.getByRole('link', { name: 'Audit record' }).click();
    await page.getByText(EVIL, { exact: false }).first().waitFor();
    // WeChat has no such payment: what is left is explained.
    await until('the comparison', async () => (await state()) === 'red');
    for (let left = 2; left > 0; left -= 1) {
      await opens(`/console/reconciliation/main/${day}`);
      assert.equal(await page.locator('input[name=note]').count(), left);
      await page.locator('input[name=note]').first().fill(EVIL);
      await page.getByRole('button', { name: 'Explain' }).first().click();
      await page.locator('.flash').waitFor();
    }
    // The repair ends once nothing waits for WeChat, and has the day compared once more.
    await until('an explained day', async () => (await state()) === 'explained');
    await shows('finance-explained');
    await page.getByRole('button', { name: 'Compare again' }).click();
    await page.locator('.flash').waitFor();
    // The page keeps current until the comparison has ended, and its buttons are back.
    await page.getByRole('button', { name: 'Compare again' }).waitFor();
    await until('an explained day', async () => (await state()) === 'explained');
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    await leaves();
  });

  it('a month is not closed before its days are settled, and the page names them', async () => {
    const { page, shows, opens, logs_in, leaves } = await person('phone', 'zh', 'light');
    await logs_in('clerk');
    await opens(`/console/reconciliation/close?merchant=main&month=${day.slice(0, 7)}`);
    await page.getByText('以下日期须先处理').waitFor();
    assert.ok(await page.locator('.plain-list a').count() >= 1);
    await shows('finance-close');
    await leaves();
  });

  it('an administrator makes, tests and reads endpoints; one that is gone is on the first page', async () => {
    const { page, shows, opens, logs_in, leaves } = await person('phone', 'en', 'light');
    await logs_in('boss');
    for (const path of ['/takes', '/refuses']) {
      await opens('/console/webhooks');
      await page.locator('input[name=url]').fill(receiver.url(path));
      await page.locator('input[name=description]').fill(EVIL);
      await page.locator('input[name=reason]').fill('for the books');
      await page.getByRole('button', { name: 'Create' }).click();
      await page.getByText(/^whsec_/).waitFor();
      await shows('finance-secret');
      await page.getByRole('link', { name: 'Back' }).click();
      await page.getByRole('button', { name: 'Send a test' }).click();
      await page.locator('.flash').waitFor();
    }
    // The address is gone by its own words: with the next event the endpoint is disabled.
    await place.control('pay', { out_trade_no: 'FIN0000002' });
    await until('the end of the endpoint', async () => {
      const { webhooks } = await place.request('GET', '/v1/webhooks');
      return webhooks.some((endpoint) => endpoint.state === 'disabled');
    });
    await until('the first page', async () => {
      await opens('/console');
      return (await page.getByText('the receiver answered 410: disabled').count()) === 1;
    });
    await shows('finance-gone');
    await page.locator('.todo a[href^="/console/webhooks/"]').click();
    await page.getByText(EVIL).first().waitFor();
    await page.getByRole('link', { name: 'Attempts', exact: true }).click();
    await page.locator('tbody summary').first().click();
    await shows('finance-attempts');
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    await leaves();
  });

  it('a viewer sees all of it and changes nothing', async () => {
    const { page, opens, logs_in, leaves } = await person('desktop', 'en', 'dark');
    await logs_in('watcher');
    const hook = (await place.request('GET', '/v1/webhooks')).webhooks[0].id;
    const reconciliation = `/console/reconciliation/main/${day}`;
    for (const path of ['/console/ledger', '/console/reconciliation', reconciliation, '/console/webhooks',
      `/console/webhooks/${hook}`]) {
      await opens(path);
      assert.equal(await page.locator('main form[method=post]').count(), 0, path);
      assert.equal(await page.locator('main a.button', { hasText: /Export|Repair|Close the month/ }).count(), 0, path);
    }
    const answers = await page.evaluate(async (paths) => {
      const csrf = document.querySelector('input[name=csrf]').value;
      const send = async (path) => {
        const body = new URLSearchParams({ csrf, reason: 'why not', note: 'why not', state: 'disabled' });
        return (await fetch(path, { method: 'POST', body })).status;
      };
      return Promise.all(paths.map(send));
    }, [`${reconciliation}/repair`, `${reconciliation}/repair/stop`, `${reconciliation}/ask`,
      '/console/reconciliation/ask', '/console/reconciliation/close', '/console/reconciliation/reopen', '/console/webhooks',
      `/console/webhooks/${hook}/state`, `/console/webhooks/${hook}/change`, `/console/webhooks/${hook}/delete`]);
    assert.deepEqual([...new Set(answers)], [403]);
    await leaves();
  });

  for (const width of WIDTHS) {
    for (const [lang, theme] of [['zh', 'dark'], ['en', 'light'], ['zh', 'light'], ['en', 'dark']]) {
      it(`every page fits: ${width}, ${lang}, ${theme}`, async () => {
        const { page, shows, opens, logs_in, leaves } = await person(width, lang, theme);
        await logs_in('boss');
        const hooks = (await place.request('GET', '/v1/webhooks')).webhooks;
        const hook = (wanted) => hooks.find((endpoint) => endpoint.state === wanted).id;
        const month = day.slice(0, 7);
        for (const [name, path] of [
          ['overview', '/console'], ['ledger', '/console/ledger'], ['calendar', `/console/reconciliation?month=${month}`],
          ['day', `/console/reconciliation/main/${day}`], ['missing', '/console/reconciliation/main/2026-01-02'],
          ['repair', `/console/reconciliation/main/${day}/repair`],
          ['month', `/console/reconciliation/close?merchant=main&month=${month}`], ['webhooks', '/console/webhooks'],
          ['webhook', `/console/webhooks/${hook('enabled')}`], ['disabled', `/console/webhooks/${hook('disabled')}`],
          ['tried', `/console/webhooks/${hook('enabled')}?tab=attempts`],
        ]) {
          await opens(path);
          await shows(name);
        }
        assert.equal(await page.evaluate(() => window.hacked), undefined);
        await leaves();
      });
    }
  }
});
