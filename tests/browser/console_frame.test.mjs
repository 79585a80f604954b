// The operators' console against the running service: signing in, every page at two widths, in both languages and
// colours, with nothing that the content security policy refuses and nothing wider than the screen.
//
// usage and env: as checkout.test.mjs
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { startDemo } from './demo.mjs';
import { startBrowser } from './payer.mjs';

const PASSWORD = 'correct horse battery';
const PAGES = ['', '/held', '/refunds', '/jobs', '/audit', '/settings'];
const pictures = process.env.WXPAY_SCREENSHOTS;

let demo;
let browser;

before(async () => {
  demo = await startDemo(process.env.WXPAYD);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** A page that fails the test on any error of a script, of the network or of the policy. */
async function open(options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  return { context, page, errors };
}

async function signIn(page) {
  await page.goto(`${demo.service}/console`);
  assert.match(page.url(), /\/console\/login$/);
  await page.fill('input[name=name]', 'demo');
  await page.fill('input[name=password]', PASSWORD);
  await page.click('button.primary');
  await page.waitForURL(`${demo.service}/console`);
}

describe('the console', () => {
  it('is entered by the link of the demo, once', async () => {
    const { context, page, errors } = await open({ viewport: { width: 1280, height: 800 }, locale: 'en' });
    await page.goto(demo.console);
    await page.fill('input[name=password]', PASSWORD);
    await page.fill('input[name=repeated]', PASSWORD);
    await page.click('button.primary');
    await page.waitForURL(/\/console\/login$/);
    assert.match(await page.textContent('[role=status]'), /The password is set/);
    if (pictures) await page.screenshot({ path: join(pictures, 'console-login.png') });
    assert.equal((await page.goto(demo.console)).status(), 410);
    assert.deepEqual(errors.filter((text) => !text.includes('410')), []);
    await context.close();
  });

  for (const [size, viewport] of [['desktop', { width: 1280, height: 800 }], ['phone', { width: 390, height: 844 }]]) {
    for (const [locale, colorScheme] of [['en', 'light'], ['zh-CN', 'dark']]) {
      it(`fits a ${size} in ${locale}, ${colorScheme}`, async () => {
        const { context, page, errors } = await open({ viewport, locale, colorScheme });
        await signIn(page);
        for (const path of PAGES) {
          await page.goto(`${demo.service}/console${path}`);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `${path} is ${wide} pixels too wide`);
          const name = `console${path.replace('/', '-') || '-overview'}-${size}-${locale}.png`;
          if (pictures) await page.screenshot({ path: join(pictures, name), fullPage: true });
        }
        assert.deepEqual(errors, []);
        await context.close();
      });
    }
  }

  it('is used by keys, and its figures stay current', async () => {
    const { context, page, errors } = await open({ viewport: { width: 1280, height: 800 }, locale: 'en' });
    await signIn(page);
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.name), 'q');
    await page.keyboard.press('Escape');
    await page.goto(`${demo.service}/console/settings`);
    await page.keyboard.press('j');
    assert.equal(await page.locator('tr[aria-selected=true]').count(), 1);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/console\/settings\/users\/\d+$/);
    await page.goto(`${demo.service}/console`);
    await page.evaluate(() => { document.querySelector('#live').firstElementChild.remove(); });
    await page.waitForSelector('#live section[aria-label=main]');
    assert.deepEqual(errors, []);
    await context.close();
  });

  it('works without script', async () => {
    const { context, page } = await open({ viewport: { width: 390, height: 844 }, locale: 'en', javaScriptEnabled: false });
    await signIn(page);
    await page.click('nav a[href="/console/audit"]');
    await page.waitForURL(/\/console\/audit$/);
    await page.click('button[name=theme][value=dark]');
    assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
    await page.click('header button');
    await page.waitForURL(/\/console\/login$/);
    await context.close();
  });
});
