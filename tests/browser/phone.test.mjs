// How the pages of a payment look: on small and large phones, in a desktop's window, by day and by night.
//
// usage and env: as checkout.test.mjs
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { startDemo } from './demo.mjs';
import { Payer, startBrowser } from './payer.mjs';

const WIDTHS = [360, 375, 390];
const DESKTOP = { width: 1280, height: 900 };

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

function with_payer(name, options, steps) {
  it(name, async () => {
    const payer = await Payer.with(browser, demo, options);
    await steps(payer);
    await payer.leave();
  });
}

/** Inside and across, in pixels: the page scrolls sideways where the first is larger. */
const widths = () => [document.documentElement.scrollWidth, document.documentElement.clientWidth];

async function screens(page) {
  return page.evaluate(async () => Object.keys((await import('/demo/screens.js')).SCREENS));
}

const show = (page, name, details) =>
  page.evaluate(async ([screen, more]) => (await import('/demo/screens.js')).show(screen, more), [name, details]);

describe('a phone', () => {
  for (const width of WIDTHS) {
    with_payer(`of ${width} pixels breaks no amount and needs no sideways scrolling`, { viewport: { width, height: 740 } }, async (p) => {
      await p.enter();
      for (const yuan of ['0.01', '1.00', '20.00']) {
        await p.chooses(yuan);
        const tile = p.page.locator('label', { has: p.page.getByLabel(`¥${yuan}`, { exact: true }) });
        const [lines, height, inside, across] = await tile.evaluate((label) => {
          const range = document.createRange();
          range.selectNodeContents(label.querySelector('span'));
          const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
          return [tops.size, label.getBoundingClientRect().height, label.scrollWidth, label.clientWidth];
        });
        assert.equal(lines, 1, `¥${yuan} is on ${lines} lines`);
        assert.ok(inside <= across, `¥${yuan} is ${inside} wide in a tile of ${across}`);
        assert.ok(height >= 44, `${height}`);
        assert.equal(await p.page.locator('#sum').innerText(), `¥${yuan}`);
      }
      // The tiles are as wide as before one was chosen: nothing jumps.
      const across = await p.page.locator('label').evaluateAll((all) => all.map((label) => Math.round(label.getBoundingClientRect().width)));
      assert.equal(new Set(across).size, 1, across.join(' '));
      for (const screen of await screens(p.page)) {
        await show(p.page, screen, { reference: 'N'.repeat(20), amount_fen: 500_000 });
        const [inside, outside] = await p.page.evaluate(widths);
        assert.ok(inside <= outside, `${screen}: ${inside} > ${outside}`);
        const lines = await p.page.locator('#amount').evaluate((amount) => {
          const range = document.createRange();
          range.selectNodeContents(amount);
          return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
        });
        assert.equal(lines, 1, `${screen}: the amount is on ${lines} lines`);
      }
    });
  }

  with_payer('shows what is waited for by a moving spinner, which keeps still where motion is unwanted', {}, async (p) => {
    await p.enter();
    const moving = () => p.page.locator('#mark').evaluate((mark) => mark.getAnimations().filter((a) => a.playState === 'running').length);
    for (const screen of ['entering', 'creating', 'waiting', 'confirming']) {
      await show(p.page, screen, {});
      assert.equal(await moving(), 1, screen);
      await p.page.emulateMedia({ reducedMotion: 'reduce' });
      assert.equal(await moving(), 0, screen);
      await p.page.emulateMedia({ reducedMotion: null });
    }
    await show(p.page, 'paid', {});
    assert.equal(await moving(), 0);
  });
});

describe('a desktop', () => {
  with_payer('shows every screen in the frame of a phone', { viewport: DESKTOP }, async (p) => {
    await p.enter();
    for (const screen of await screens(p.page)) {
      await show(p.page, screen, { reference: 'ABCDEFGH', amount_fen: 2000 });
      const box = await p.page.locator('#phone').boundingBox();
      assert.ok(box.width <= 400 && box.width >= 360, `${screen}: ${box.width}`);
      assert.ok(Math.abs(box.x + box.width / 2 - DESKTOP.width / 2) < 10, `${screen}: at ${box.x}`);
      for (const part of ['main', 'header', 'footer']) {
        const inner = await p.page.locator(part).boundingBox();
        assert.ok(inner.x >= box.x && inner.x + inner.width <= box.x + box.width, `${screen}: ${part} leaves the frame`);
      }
    }
    await p.page.reload();
    await p.sees('choosing');
    await p.orders();
    const sheet = await p.page.locator('#wechat-cashier dialog').boundingBox();
    const frame = await p.page.locator('#phone').boundingBox();
    assert.ok(sheet.x > frame.x && sheet.x + sheet.width < frame.x + frame.width, `the sheet is ${sheet.width} wide`);
    await p.shows('sheet-desktop');
  });
});

describe('the sheet and the receipt', () => {
  with_payer('the sheet names the shop, the goods, the amount and the means, and has a way out', {}, async (p) => {
    await p.enter();
    await p.chooses('20.00');
    await p.orders();
    const sheet = p.page.locator('#wechat-cashier dialog');
    await sheet.waitFor();
    for (const text of ['演示商店', '¥20.00', '支付方式', '零钱', '商品', 'wxpay-worker 演示']) {
      await sheet.getByText(text, { exact: true }).waitFor();
    }
    const out = sheet.getByRole('button', { name: '取消', exact: true });
    assert.equal(await out.innerText(), '×');
    const box = await out.boundingBox();
    assert.ok(box.width >= 44 && box.height >= 44, JSON.stringify(box));
    assert.equal(await sheet.evaluate((dialog) => dialog.getRootNode().activeElement.textContent), '确认支付');
    await out.click();
    await p.sees('cancelled');
  });

  with_payer('a paid order is a receipt with goods, time and WeChat\'s number', {}, async (p) => {
    await p.enter();
    await p.chooses('20.00');
    const { order_no } = await p.orders();
    await p.confirmsInWechat();
    await p.sees('paid');
    const order = await demo.order(order_no);
    const value = (id) => p.page.locator(id).innerText();
    assert.equal(await value('#order-payee'), '演示商店');
    assert.equal(await value('#order-goods'), 'wxpay-worker 演示');
    assert.equal(await value('#order-amount'), '¥20.00');
    assert.equal(await value('#order-transaction'), order.transaction_id);
    assert.equal(await value('#order-number'), order_no);
    const at = await p.page.evaluate((time) => new Date(time).toLocaleString('zh-CN', { timeZone: 'Asia/Shanghai' }), order.paid_at);
    assert.equal(await value('#order-paid-at'), at);
    const [mark, size, fill, green] = await p.page.locator('#mark').evaluate((element) => {
      const button = getComputedStyle(document.getElementById('action')).backgroundColor;
      return [element.dataset.mark, element.getBoundingClientRect().width, getComputedStyle(element).backgroundColor, button];
    });
    assert.equal(mark, 'tick');
    assert.ok(size >= 64, `the tick is ${size} wide`);
    assert.equal(fill, green, 'the tick is filled');
    // Another reload shows it again, and 完成 ends it.
    await p.page.reload();
    await p.sees('paid');
    assert.equal(await value('#order-transaction'), order.transaction_id);
    await p.presses('完成');
    await p.sees('choosing');
    assert.ok(!(await p.page.locator('#order').isVisible()));
  });
});

describe('H5', () => {
  with_payer('the payer pays in a browser and goes back to the shop', { viewport: DESKTOP }, async (p) => {
    const headers = { Authorization: `Bearer ${demo.api_key}`, 'Content-Type': 'application/json' };
    const h5_info = { type: 'Wap', wap_url: demo.page, wap_name: 'demo' };
    const order = {
      order_no: `H5${Date.now()}`, amount_fen: 100, description: 'a coffee', trade_type: 'MWEB', client_ip: '203.0.113.7',
      scene_info: { h5_info },
    };
    const answer = await fetch(`${demo.service}/v1/orders`, { method: 'POST', headers, body: JSON.stringify(order) });
    const { pay_params } = await answer.json();
    await p.page.goto(pay_params.mweb_url);
    const main = await p.page.locator('main').boundingBox();
    assert.ok(main.width <= 400, `the page is ${main.width} wide`);
    await p.shows('cashier');
    await p.presses('确认支付');
    await p.page.getByRole('heading', { name: '支付成功' }).waitFor();
    for (const text of ['支付时间', '交易单号', '支付方式', '演示商店']) await p.page.getByText(text, { exact: true }).waitFor();
    await p.shows('cashier-paid');
    await p.page.getByRole('link', { name: '返回商家' }).click();
    await p.page.waitForURL((url) => url.href.startsWith(demo.service) || url.pathname.startsWith('/connect/'));
  });
});

describe('one palette', () => {
  for (const colorScheme of ['light', 'dark']) {
    with_payer(`in all pages that a payer meets, ${colorScheme}`, { colorScheme }, async (p) => {
      const colours = (locator) =>
        locator.evaluate((element) => {
          const { backgroundColor, color } = getComputedStyle(element);
          return `${color} on ${backgroundColor}`;
        });
      const page = () => colours(p.page.locator('body')).then((text) => text.split(' on ')[1]);
      await p.page.goto(demo.page);
      const consent = [await colours(p.page.getByRole('button', { name: '同意' })), await page()];
      await p.presses('拒绝');
      const refusal = [await colours(p.page.getByRole('link', { name: '重新进入' })), await page()];
      await p.page.getByRole('link', { name: '重新进入' }).click();
      await p.agree();
      await p.sees('choosing');
      const shop = [await colours(p.page.locator('#pay')), await page()];
      const card = (await colours(p.page.locator('main'))).split(' on ')[1];
      const { package: prepay } = await p.orders();
      const sheet = p.page.locator('#wechat-cashier dialog');
      const pay = await colours(sheet.getByRole('button', { name: '确认支付' }));
      assert.equal((await colours(sheet)).split(' on ')[1], card);
      await p.page.goto(`${demo.wechat}/_sandbox/cashier?${prepay}`);
      const cashier = [await colours(p.page.getByRole('button', { name: '确认支付' })), await page()];
      assert.deepEqual({ consent, refusal, cashier, sheet: pay }, { consent: shop, refusal: shop, cashier: shop, sheet: shop[0] });
    });
  }
});

describe('the terminal', () => {
  with_payer('goes on telling what happens while a payer plays', {}, async (p) => {
    const told = (text) => demo.said.some((line) => line.includes(text));
    await p.enter();
    await p.chooses('1.00');
    const { order_no } = await p.orders();
    await p.until(`${order_no} is placed`, () => told(`${order_no}: placed at WeChat, can be paid, 100 fen`));
    assert.ok(!told(`${order_no}: order.paid`));
    await p.confirmsInWechat();
    await p.sees('paid');
    const { transaction_id } = await demo.order(order_no);
    await p.until(`${order_no} is told paid`, () => told(`${order_no}: order.paid, 100 fen, transaction ${transaction_id}`));
    assert.ok(told(`${order_no}: settled: ledger row`), demo.said.join('\n'));
    assert.ok(told(`${order_no}: notification `), demo.said.join('\n'));
  });
});
