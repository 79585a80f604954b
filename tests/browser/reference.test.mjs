// The documentation of the API in a browser: Swagger UI draws every address, with nothing that the content security
// policy refuses and nothing from another host.
//
// usage and env: as checkout.test.mjs
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { startDemo } from './demo.mjs';
import { startBrowser } from './payer.mjs';

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

describe('the documentation', () => {
  it('shows every address of the document and sends a request', async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: 'en' });
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    const [errors, hosts] = [[], new Set()];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('pageerror', (error) => errors.push(String(error)));
    page.on('request', (request) => request.url().startsWith('http') && hosts.add(new URL(request.url()).origin));
    await page.goto(`${demo.service}/docs`);
    await page.waitForSelector('.opblock-tag');
    const document = await (await fetch(`${demo.service}/openapi.json`)).json();
    assert.equal(await page.locator('.opblock-tag').count(), document.tags.length);
    if (pictures) await page.screenshot({ path: join(pictures, 'reference-docs.png') });
    await page.click('#operations-tag-Service .opblock-tag, [data-tag="Service"]');
    await page.click('[id="operations-Service-getLiveness"] .opblock-summary-control');
    await page.click('[id="operations-Service-getLiveness"] .try-out__btn');
    await page.click('[id="operations-Service-getLiveness"] .execute');
    await page.waitForSelector('[id="operations-Service-getLiveness"] .live-responses-table .response-col_status');
    const shown = await page.textContent('[id="operations-Service-getLiveness"] .live-responses-table');
    assert.match(shown, /200/);
    assert.deepEqual(errors, []);
    assert.deepEqual([...hosts], [new URL(demo.service).origin]);
    await page.goto(`${demo.service}/problems/order-held`);
    assert.equal(await page.textContent('h1'), 'order-held');
    await page.click('text=All problems');
    assert.equal(await page.textContent('h1'), 'Problems');
    assert.deepEqual(errors, []);
    await context.close();
  });
});
