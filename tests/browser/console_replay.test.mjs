// Notifications that were refused because of a wrong key, which SIGHUP corrects: an operator replays them in the console,
// and a second time there is nothing to do. Small: forty. Long (WXPAY_TEST_LONG=1): ten thousand.
//
// usage and env: as checkout.test.mjs
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';

import { Installation, until } from './installation.mjs';
import { accepts, notification, openConsole } from './operator.mjs';
import { Payer, startBrowser } from './payer.mjs';

const PASSWORD = 'a password for the tests';
const LONG = process.env.WXPAY_TEST_LONG === '1';
const ORDERS = LONG ? 10_000 : 40;
/** Requests under way at once. */
const AT_ONCE = 8;

let service;
let browser;

async function each(count, act) {
  let next = 0;
  const one = async () => { while (next < count) await act(next++); };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

/** Orders of the right key, whose notifications come while the service has another one. */
async function refuseAll(process, key) {
  const openid = Payer.openid();
  const orders = [];
  await each(ORDERS, async (n) => {
    const order_no = `REFUSED${String(n).padStart(5, '0')}`;
    const body = { order_no, openid, amount_fen: 100, description: 'a coffee', trade_type: 'JSAPI' };
    const { merchant, attempts } = await service.request('POST', '/v1/orders', body);
    const transaction_id = `42000000002026112900000${String(n).padStart(5, '0')}`;
    orders[n] = { merchant, order_no, message: notification(service, { ...body, ...attempts[0], transaction_id }, key) };
  });
  await service.changeKey(process, randomBytes(16).toString('hex'));
  await each(ORDERS, async (n) => {
    const { merchant, message } = orders[n];
    const answer = await fetch(`${service.service}/notify/${merchant}/pay`, { method: 'POST', body: message });
    assert.match(await answer.text(), /FAIL/);
  });
  const kept = async () => /notify_refused_total\{outcome="kept"\} (\d+)/.exec(await (await fetch(`${service.service}/metrics`)).text())?.[1];
  await until('every refused body is kept', async () => Number(await kept()) === ORDERS);
  await service.changeKey(process, key);
  return orders;
}

/** Plans a replay of everything that was refused; answers what the plan predicts. */
async function planRefused({ page, opens, shows }, name) {
  await opens('/console/notifications?verdict=refused');
  await page.getByRole('link', { name: 'Replay these' }).click();
  await page.locator('input[name=reason]').fill('the key is corrected');
  await page.locator('input[name=rate]').fill(LONG ? '500' : '40');
  await page.getByRole('button', { name: 'Predict the results' }).click();
  await page.locator('.counts').first().waitFor({ timeout: 60_000 });
  await shows(name);
  return page.locator('.counts').first().innerText();
}

before(async () => {
  service = await Installation.prepare(process.env.WXPAYD, randomBytes(16).toString('hex'));
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await service?.stop();
});

describe('a wrong key', () => {
  it('is corrected by SIGHUP, and what it refused settles once, over the console', async () => {
    // Without the scheduler: no question to WeChat settles an order meanwhile.
    const process = await service.run('ingress,worker');
    await accepts(browser, service.service, await service.invitation('anna'), PASSWORD);
    const orders = await refuseAll(process, service.v2_key);
    const anna = await openConsole(browser, service.service, PASSWORD, { width: 'desktop', lang: 'en', theme: 'light' });
    await anna.logs_in('anna');
    const { page, shows } = anna;
    assert.match(await planRefused(anna, 'wrong-key-plan'), new RegExp(`would settle\\s+${ORDERS}`));
    const typed = page.locator('input[name=count]');
    if (await typed.count()) await typed.fill(String(ORDERS));
    await page.getByRole('button', { name: 'Start the replay' }).click();
    await page.locator('.progress .badge.good').waitFor({ timeout: LONG ? 900_000 : 30_000 });
    assert.equal(await page.locator('[data-settled]').innerText(), String(ORDERS));
    await shows('wrong-key-replayed');
    assert.match(await planRefused(anna, 'wrong-key-again'), new RegExp(`^no-op\\s+${ORDERS}$`));
    await page.getByText('0 to do:', { exact: false }).waitFor();
    assert.equal(await page.getByRole('button', { name: 'Start the replay' }).count(), 0);
    await anna.leaves();
    for (const { order_no } of orders) {
      const order = await service.request('GET', `/v1/orders/${order_no}`);
      assert.deepEqual([order.state, order.payments.length], ['paid', 1], order_no);
    }
    const paid = new Set();
    let count = 0;
    for (let after = ''; ;) {
      const page = await service.request('GET', `/v1/events?types=wxpay.order.paid.v1&limit=100${after}`);
      if (page.events.length === 0) break;
      page.events.forEach((event) => paid.add(event.data.order_no));
      count += page.events.length;
      after = `&after=${encodeURIComponent(page.next)}`;
    }
    assert.deepEqual([count, paid.size], [ORDERS, ORDERS]);
  });
});
