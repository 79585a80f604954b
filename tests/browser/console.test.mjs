// The operators' console against the running service: an operator finds what was refused, plans, replays and reads why;
// a viewer cannot; no page runs what callers wrote.
//
// usage: tests/run.sh --browser      (which names the program and the browser)
// env:   as checkout.test.mjs
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { startDemo } from './demo.mjs';
import { Payer, startBrowser } from './payer.mjs';

const PASSWORD = 'a password for the tests';
const PICTURES = process.env.WXPAY_SCREENSHOTS;
const EVIL = '<img src=x onerror="window.hacked=1">';
/** As many orders as are replayed in a few seconds, so that the progress is seen. */
const ORDERS = 12;
const WIDTHS = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

let demo;
let browser;
let link;
let refused;

/** A notification of a payment, signed with this key. */
function notification(order, key) {
  const fields = {
    appid: demo.app_id, bank_type: 'OTHERS', cash_fee: order.amount_fen, fee_type: 'CNY', is_subscribe: 'N',
    mch_id: demo.mch_id, nonce_str: 'tests', openid: order.openid, out_trade_no: order.out_trade_no,
    result_code: 'SUCCESS', return_code: 'SUCCESS', sign_type: 'HMAC-SHA256', time_end: order.time_end,
    total_fee: order.amount_fen, trade_type: 'JSAPI', transaction_id: order.transaction_id,
  };
  const text = Object.keys(fields).sort().map((name) => `${name}=${fields[name]}`).join('&');
  fields.sign = createHmac('sha256', key).update(`${text}&key=${key}`).digest('hex').toUpperCase();
  return `<xml>${Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`).join('')}</xml>`;
}

/** The moment as WeChat writes it. */
function beijing(at) {
  return new Date(at + 8 * 3_600_000).toISOString().replace(/[-:T]/g, '').slice(0, 14);
}

/** Orders whose notifications were refused, because the key was another one when they came. */
async function ordersWithRefusedNotifications(count) {
  const key = randomBytes(16).toString('hex');
  const openid = Payer.openid();
  for (let n = 0; n < count; n += 1) {
    const order_no = `CONSOLE${String(n).padStart(4, '0')}`;
    const texts = n === 0 ? { description: EVIL, attach: EVIL } : { description: 'a coffee', attach: `table ${n}` };
    const body = { order_no, openid, amount_fen: 100 + 950 * n, ...texts, trade_type: 'JSAPI' };
    const headers = { Authorization: `Bearer ${demo.api_key}`, 'Content-Type': 'application/json' };
    const placed = await fetch(`${demo.service}/v1/orders`, { method: 'POST', headers, body: JSON.stringify(body) });
    assert.ok(placed.ok, await placed.clone().text());
    const { merchant, attempts } = await placed.json();
    const transaction_id = `42000000002026112800000${String(n).padStart(5, '0')}`;
    const message = notification({ ...body, ...attempts[0], transaction_id, time_end: beijing(Date.now()) }, key);
    const answer = await fetch(`${demo.service}/notify/${merchant}/pay`, { method: 'POST', body: message });
    assert.match(await answer.text(), /FAIL/);
  }
  const data = await demo.stop({ keeps: true });
  await readFile(join(data, 'v2_key.txt'));
  await writeFile(join(data, 'v2_key.txt'), key);
  return data;
}

/** A browser of a person, in a language, of a width and in colours; what the page's own policy blocks is an error. */
async function person(width, lang, theme) {
  const context = await browser.newContext({
    viewport: WIDTHS[width], deviceScaleFactor: 1, colorScheme: theme, locale: lang === 'zh' ? 'zh-CN' : 'en-GB',
  });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => /Content Security Policy|Uncaught/.test(message.text()) && errors.push(message.text()));
  const shows = async (name) => {
    if (PICTURES) await page.screenshot({ path: join(PICTURES, `console-${name}-${width}-${lang}-${theme}.png`), fullPage: true });
  };
  const leaves = async () => {
    await context.close();
    assert.deepEqual(errors, []);
  };
  const opens = async (path) => {
    const answer = await page.goto(`${demo.service}${path}`);
    assert.equal(answer.status(), 200, path);
    // Nothing is wider than the screen.
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wider <= 0, `${path} is ${wider} px too wide`);
    return answer;
  };
  const logs_in = async (name) => {
    await page.goto(`${demo.service}/console`);
    await page.locator('input[name=name]').fill(name);
    await page.locator('input[name=password]').fill(PASSWORD);
    await page.locator('button.primary').click();
    await page.locator('nav.places').waitFor();
  };
  return { context, page, errors, shows, leaves, opens, logs_in };
}

/** Sets the password of an invitation. */
async function accepts(invitation) {
  const { page, leaves } = await person('desktop', 'en', 'light');
  await page.goto(invitation);
  await page.locator('input[name=password]').fill(PASSWORD);
  await page.locator('input[name=repeated]').fill(PASSWORD);
  await page.locator('button.primary').click();
  await page.waitForURL('**/console/login');
  await leaves();
}

before(async () => {
  demo = await startDemo(process.env.WXPAYD);
  const data = await ordersWithRefusedNotifications(ORDERS);
  demo = await startDemo(process.env.WXPAYD, data);
  link = demo.console;
  browser = await startBrowser();
  await accepts(link);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

describe('the console', () => {
  it('an operator finds what was refused, plans, replays, watches it end and reads why', async () => {
    const { page, shows, opens, logs_in, leaves } = await person('desktop', 'en', 'light');
    await logs_in('demo');
    await shows('overview');
    await opens('/console/notifications?verdict=refused');
    assert.equal(await page.locator('tr[data-href]').count(), ORDERS);
    await shows('notifications');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByText('No key of the merchant verifies the signature.').waitFor();
    refused = page.url();
    await shows('notification');
    await opens('/console/notifications?verdict=refused');
    await page.getByRole('link', { name: 'Replay these' }).click();
    await page.locator('input[name=reason]').fill('the key was wrong until now');
    await page.locator('input[name=rate]').fill('4');
    await shows('plan');
    await page.getByRole('button', { name: 'Predict the results' }).click();
    await page.getByText('to do', { exact: false }).first().waitFor();
    assert.match(await page.locator('.counts').first().innerText(), new RegExp(`would settle\\s+${ORDERS}`));
    await shows('planned');
    await page.getByRole('button', { name: 'Start the replay' }).click();
    // By events, without loading the page.
    await page.waitForFunction(() => Number(document.querySelector('progress')?.value) > 2);
    await shows('replaying');
    await page.locator('.progress .badge.good').waitFor({ timeout: 15_000 });
    assert.match(await page.locator('[data-settled]').innerText(), new RegExp(`^${ORDERS}$`));
    await shows('replayed');
    await opens('/console/orders/main/CONSOLE0003');
    await page.getByText('payable → paid').first().waitFor();
    assert.equal(await page.getByText('order.paid').count(), 1);
    await page.locator('.timeline .decision summary').last().click();
    await shows('order');
    assert.equal((await demo.order('CONSOLE0003')).state, 'paid');
    await leaves();
  });

  it('a viewer sees all of it and cannot replay', async () => {
    const admin = await person('desktop', 'en', 'dark');
    await admin.logs_in('demo');
    await admin.opens('/console/settings');
    await admin.page.locator('details.panel summary').first().click();
    await admin.page.locator('form[action="/console/settings/users"] input[name=name]').fill('watcher');
    await admin.page.locator('form[action="/console/settings/users"] input[value=all]').check();
    await admin.page.locator('form[action="/console/settings/users"] button.primary').click();
    const invitation = await admin.page.locator('main').innerText();
    await accepts(invitation.match(/https?:\/\/\S+\/console\/invitation\/\S+/)[0].replace(/^https?:\/\/[^/]+/, demo.service));
    await admin.leaves();
    const { page, opens, logs_in, leaves } = await person('phone', 'en', 'light');
    await logs_in('watcher');
    await opens('/console/replays');
    assert.equal(await page.getByRole('link', { name: 'Plan a replay' }).count(), 0);
    await page.goto(refused);
    assert.equal(await page.getByRole('link', { name: 'Replay', exact: true }).count(), 0);
    const status = await page.evaluate(async () => {
      const csrf = document.querySelector('input[name=csrf]').value;
      const body = new URLSearchParams({ csrf, kind: 'notification', refused: '1', reason: 'why not' });
      return (await fetch('/console/replays', { method: 'POST', body })).status;
    });
    assert.equal(status, 403);
    await leaves();
  });

  it('runs no script of a page or a caller, and is in no frame', async () => {
    const { page, errors, opens, logs_in, context } = await person('desktop', 'en', 'light');
    await logs_in('demo');
    const answer = await opens('/console/orders/main/CONSOLE0000');
    assert.match(answer.headers()['content-security-policy'], /default-src 'self'.*frame-ancestors 'none'/);
    assert.equal(answer.headers()['x-frame-options'], 'DENY');
    assert.ok((await page.content()).length < 100_000);
    assert.ok(await page.getByText(EVIL).count() > 0);
    await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'window.hacked = 2';
      document.head.append(script);
    });
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    assert.ok(errors.some((error) => error.includes('Content Security Policy')), 'the policy blocked nothing');
    await context.close();
  });

  for (const [width, lang, theme] of [['phone', 'zh', 'dark'], ['phone', 'en', 'light'], ['desktop', 'zh', 'dark']]) {
    it(`every page fits: ${width}, ${lang}, ${theme}`, async () => {
      const { page, shows, opens, logs_in, leaves } = await person(width, lang, theme);
      await logs_in('demo');
      assert.equal(await page.locator('html').getAttribute('lang'), lang === 'zh' ? 'zh-CN' : 'en');
      const replays = await opens('/console/replays');
      assert.ok(replays);
      const replay = await page.locator('tr[data-href]').first().getAttribute('data-href');
      for (const [name, path] of [
        ['orders', '/console/orders'], ['order', '/console/orders/main/CONSOLE0003'],
        ['notifications', '/console/notifications'], ['notification', new URL(refused).pathname],
        ['dead-letters', '/console/dead-letters'], ['replays', '/console/replays'], ['replay', replay],
        ['plan', '/console/replays/new'], ['overview', '/console'],
      ]) {
        await opens(path);
        if (name === 'order') await page.locator('.timeline .decision summary').last().click();
        await shows(name);
      }
      await leaves();
    });
  }
});
