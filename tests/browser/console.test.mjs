// The operators' console against the running service: an operator finds what was refused, plans, replays and reads why;
// a viewer cannot; no page runs what callers wrote.
//
// usage: tests/run.sh --browser      (which names the program and the browser)
// env:   as checkout.test.mjs
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { startDemo } from './demo.mjs';
import { accepts, notification, openConsole } from './operator.mjs';
import { Payer, startBrowser } from './payer.mjs';

const PASSWORD = 'a password for the tests';
const EVIL = '<img src=x onerror="window.hacked=1">';
/** As many orders as are replayed in a few seconds, so that the progress is seen. */
const ORDERS = 12;

let demo;
let browser;
let link;
let refused;

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
    const message = notification(demo, { ...body, ...attempts[0], transaction_id }, key);
    const answer = await fetch(`${demo.service}/notify/${merchant}/pay`, { method: 'POST', body: message });
    assert.match(await answer.text(), /FAIL/);
  }
  const data = await demo.stop({ keeps: true });
  await readFile(join(data, 'v2_key.txt'));
  await writeFile(join(data, 'v2_key.txt'), key);
  return data;
}

const person = (width, lang, theme) => openConsole(browser, demo.service, PASSWORD, { width, lang, theme });

before(async () => {
  demo = await startDemo(process.env.WXPAYD);
  const data = await ordersWithRefusedNotifications(ORDERS);
  demo = await startDemo(process.env.WXPAYD, data);
  link = demo.console;
  browser = await startBrowser();
  await accepts(browser, demo.service, link, PASSWORD);
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
    const invited = invitation.match(/https?:\/\/[^/\s]+(\/console\/invitation\/\S+)/)[1];
    await accepts(browser, demo.service, `${demo.service}${invited}`, PASSWORD);
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

  for (const width of ['phone', 'desktop']) {
    it(`an administrator sees what goes and erases a payer: ${width}`, async () => {
      const openid = Payer.openid();
      const body = { order_no: `CONSOLE-${width}`, openid, amount_fen: 100, description: 'a coffee', trade_type: 'JSAPI' };
      const headers = { Authorization: `Bearer ${demo.api_key}`, 'Content-Type': 'application/json' };
      const placed = await fetch(`${demo.service}/v1/orders`, { method: 'POST', headers, body: JSON.stringify(body) });
      assert.ok(placed.ok, await placed.text());
      const { page, shows, opens, logs_in, leaves } = await person(width, 'en', 'light');
      await logs_in('demo');
      await opens('/console/settings');
      await page.getByRole('link', { name: 'Payers' }).click();
      const ending = page.locator('form[action="/console/payers/end-sessions"]');
      await ending.locator('input[name=openid]').fill(openid);
      await ending.locator('textarea[name=reason]').fill('a phone was lost');
      await ending.getByRole('button').click();
      await page.getByText('The sessions have ended.').waitFor();
      const form = page.locator('form[action="/console/payers/erase"]');
      await form.locator('input[name=openid]').fill(openid);
      await form.locator('textarea[name=reason]').fill('request 4711');
      await form.getByRole('button').click();
      await page.getByText('This cannot be undone.').waitFor();
      await shows('erase-payer');
      await page.locator('input[name=typed]').fill('nope');
      await page.locator('button.danger').click();
      await page.getByText('That is not how the openid ends.').waitFor();
      await page.locator('input[name=typed]').fill(openid.slice(-4));
      await page.locator('button.danger').click();
      await page.waitForURL('**/console/payers/erasures/*');
      await page.getByText('The erasure runs in the background.').waitFor();
      assert.ok(!(await page.content()).includes(openid));
      await opens(new URL(page.url()).pathname);
      await shows('erasure');
      await opens('/console/payers');
      await page.getByText('request 4711').first().waitFor();
      assert.ok(!(await page.content()).includes(openid));
      await shows('payers');
      await leaves();
    });
  }

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
        ['plan', '/console/replays/new'], ['payers', '/console/payers'], ['overview', '/console'],
      ]) {
        await opens(path);
        if (name === 'order') await page.locator('.timeline .decision summary').last().click();
        await shows(name);
      }
      await leaves();
    });
  }
});
