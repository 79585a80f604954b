// The checkout page against the running service and the running simulator: what a payer sees, and what is true.
//
// usage: tests/run.sh --browser      (which names the program and the browser)
// env:   WXPAYD                    the wxpayd to start
//        WXPAY_TEST_NODE_MODULES   where playwright-core is installed
//        WXPAY_TEST_CHROMIUM       the browser; default /usr/bin/chromium
//        WXPAY_SCREENSHOTS         a folder for pictures of the screens; default none
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';

import { startDemo } from './demo.mjs';
import { Payer, startBrowser } from './payer.mjs';

/** How WeChat's browser calls itself. */
const WECHAT = 'Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36 MicroMessenger/8.0.50';

/** Whose order is placed first of all, so that its time is over when the last test comes to it. */
const EARLY = Payer.openid();

let demo;
let browser;
let payer;
let early;

before(async () => {
  demo = await startDemo(process.env.WXPAYD);
  browser = await startBrowser();
  early = await demo.shortOrder('EARLY0001', EARLY);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** A test with a payer of its own, who leaves at the end. */
function with_payer(name, options, steps) {
  it(name, async () => {
    payer = await Payer.with(browser, demo, options);
    await steps(payer);
    await payer.leave();
  });
}

/** Holds an order to be paid exactly once, in our books and in WeChat's. */
async function paidOnce(order_no, fen) {
  const ours = await demo.order(order_no);
  assert.equal(ours.state, 'paid');
  assert.equal(ours.amount_fen, fen);
  assert.deepEqual(ours.flags, []);
  const theirs = await demo.ledger(ours.attempts[0].out_trade_no);
  assert.equal(theirs.payments.length, 1);
  assert.equal(theirs.payments[0].total_fee, fen);
  assert.equal(theirs.payments[0].transaction_id, ours.transaction_id);
}

async function notPaid(order_no) {
  const ours = await demo.order(order_no);
  assert.notEqual(ours.state, 'paid');
  assert.deepEqual((await demo.ledger(ours.attempts[0].out_trade_no)).payments, []);
}

beforeEach(async () => {
  await demo.control('faults', null, 'DELETE');
  await demo.control('bridge/behaviour', { next: null });
});

describe('paying', () => {
  with_payer('a first visit goes through the login once and ends in a payment that both ledgers have', {}, async (p) => {
    await p.enter();
    const logins = p.visits.filter((url) => url.includes('/connect/oauth2/authorize'));
    assert.equal(logins.length, 1);
    assert.equal(p.page.url(), demo.page);
    await p.page.getByText('JS-SDK 已就绪').waitFor();
    const shared = await p.page.evaluate(() => window.wx.sandboxShared());
    for (const name of ['updateAppMessageShareData', 'updateTimelineShareData']) {
      assert.equal(shared[name]?.title, '收银台', JSON.stringify(shared));
      assert.equal(shared[name].link, demo.page);
    }
    assert.equal(shared.updateAppMessageShareData.desc, '微信支付演示');
    await p.shows('choosing');
    const { order_no } = await p.orders();
    await p.sees('waiting');
    await p.shows('waiting');
    await p.confirmsInWechat();
    await p.sees('paid');
    await p.shows('paid');
    await paidOnce(order_no, 1);
    await p.page.reload();
    await p.sees('paid');
    await p.presses('完成');
    await p.sees('choosing');
  });

  with_payer('a payer who cancels finds the same order again and pays it', {}, async (p) => {
    await p.enter();
    await p.chooses('1.00');
    const first = await p.orders();
    await p.cancelsInWechat();
    await p.sees('cancelled');
    await p.shows('cancelled');
    await notPaid(first.order_no);
    await p.page.reload();
    await p.sees('cancelled');
    const second = await p.orders('继续支付');
    assert.equal(second.order_no, first.order_no);
    assert.equal(second.package, first.package);
    await p.confirmsInWechat();
    await p.sees('paid');
    await paidOnce(first.order_no, 100);
  });

  with_payer('a payment whose notifications are all lost is found because the page has WeChat asked', {}, async (p) => {
    await demo.control('faults', [{ on: 'notify', kind: 'drop' }]);
    await p.enter();
    const { order_no } = await p.orders();
    await p.confirmsInWechat();
    await p.sees('paid', 10_000);
    await paidOnce(order_no, 1);
    const { deliveries } = await demo.ledger((await demo.order(order_no)).attempts[0].out_trade_no);
    assert.ok(deliveries.length > 0);
    assert.deepEqual(deliveries.filter((delivery) => delivery.http_status !== null), []);
  });

  with_payer('the JS-SDK pays where there is no bridge', { userAgent: WECHAT }, async (p) => {
    await p.page.addInitScript(() => {
      Object.defineProperty(window, 'WeixinJSBridge', { get: () => undefined, set: () => {} });
    });
    await p.enter();
    const { order_no } = await p.orders();
    await p.confirmsInWechat();
    await p.sees('paid');
    await paidOnce(order_no, 1);
  });

  with_payer('a payer who reloads with the sheet open goes on with the same order', {}, async (p) => {
    await p.enter();
    const first = await p.orders();
    await p.page.locator('#wechat-cashier').getByRole('button', { name: '确认支付' }).waitFor();
    await p.page.reload();
    await p.sees('cancelled');
    await notPaid(first.order_no);
    const second = await p.orders('继续支付');
    assert.equal(second.order_no, first.order_no);
    await p.confirmsInWechat();
    await p.sees('paid');
    await paidOnce(first.order_no, 1);
  });

  with_payer('a payment that is made while the page with the sheet is reloaded is found', {}, async (p) => {
    await p.enter();
    const { order_no, package: prepay } = await p.orders();
    await p.page.locator('#wechat-cashier').getByRole('button', { name: '确认支付' }).waitFor();
    await demo.control('faults', [{ on: 'notify', kind: 'drop' }]);
    await demo.control('pay', { prepay_id: prepay.replace('prepay_id=', '') });
    await p.page.reload();
    await p.sees('paid');
    await paidOnce(order_no, 1);
  });

  with_payer('a payment that is made after the reloaded page has asked is shown without a press', {}, async (p) => {
    await p.enter();
    const { order_no, package: prepay } = await p.orders();
    await p.page.locator('#wechat-cashier').getByRole('button', { name: '确认支付' }).waitFor();
    await p.page.reload();
    await p.sees('cancelled');
    await demo.control('pay', { prepay_id: prepay.replace('prepay_id=', '') });
    await p.sees('paid');
    await paidOnce(order_no, 1);
  });

  with_payer('a double press orders once', {}, async (p) => {
    const orders = [];
    p.page.on('request', (request) => request.url().includes('/pay/payWallet') && orders.push(request.url()));
    await p.enter();
    await p.page.locator('#pay').dblclick();
    await p.sees('waiting');
    await p.cancelsInWechat();
    await p.sees('cancelled');
    assert.equal(orders.length, 1);
  });

  with_payer('a keyboard is enough', {}, async (p) => {
    await p.enter();
    const focused = () => p.page.evaluate(() => document.activeElement.id || document.activeElement.name);
    await p.page.keyboard.press('Tab');
    assert.equal(await focused(), 'money');
    await p.page.keyboard.press('ArrowRight');
    await p.page.keyboard.press('Tab');
    assert.equal(await focused(), 'pay');
    const answered = p.page.waitForResponse((answer) => answer.url().includes('/pay/payWallet'));
    await p.page.keyboard.press('Enter');
    const { data } = await (await answered).json();
    await p.sees('waiting');
    await p.page.getByRole('button', { name: '确认支付' }).focus();
    await p.page.keyboard.press('Enter');
    await p.sees('paid');
    await paidOnce(data.order_no, 100);
  });
});

describe('what WeChat says to the page is a hint', () => {
  with_payer('an ok without a payment is never called paid, and the asking outlives a reload', {}, async (p) => {
    await p.noteScreens();
    await p.enter();
    await p.chooses('20.00');
    await demo.control('bridge/behaviour', { next: 'lie_ok' });
    const { order_no, package: prepay } = await p.orders();
    await p.sees('confirming');
    await p.shows('confirming');
    const begun = Date.now();
    await p.sees('unknown', 12_000);
    assert.ok(Date.now() - begun > 8000, 'the payer was told too early that it takes long');
    await p.presses('查看订单');
    await p.page.getByText(order_no).waitFor();
    await p.shows('unknown');
    await p.page.reload();
    // At once, not after another ten seconds of hope.
    await p.sees('unknown', 8000);
    await notPaid(order_no);
    assert.ok(!p.screens.includes('paid'), p.screens.join(' '));
    // Now it is paid after all, somewhere else: the page finds out by itself.
    await demo.control('pay', { prepay_id: prepay.replace('prepay_id=', '') });
    await p.sees('paid', 30_000);
    await paidOnce(order_no, 2000);
  });

  with_payer('a payment is called paid though the sheet ends otherwise', {}, async (p) => {
    await p.enter();
    // The money goes while the sheet is open; then the payer cancels.
    const { order_no, package: prepay } = await p.orders();
    await p.page.locator('#wechat-cashier').getByRole('button', { name: '取消' }).waitFor();
    await demo.control('faults', [{ on: 'notify', kind: 'drop' }]);
    await demo.control('pay', { prepay_id: prepay.replace('prepay_id=', '') });
    await p.cancelsInWechat();
    await p.sees('paid');
    await paidOnce(order_no, 1);
  });
});

describe('what can go wrong', () => {
  with_payer('an order that was closed meanwhile is told, and ordered again', {}, async (p) => {
    await p.enter();
    const { order_no } = await p.orders();
    await p.cancelsInWechat();
    await p.sees('cancelled');
    await demo.closeAtWechat((await demo.order(order_no)).attempts[0].out_trade_no);
    await p.presses('继续支付');
    await p.sees('closed');
    await p.shows('closed');
    assert.equal((await demo.order(order_no)).state, 'closed');
    const again = await p.orders('重新下单');
    assert.notEqual(again.order_no, order_no);
    await p.confirmsInWechat();
    await p.sees('paid');
    await paidOnce(again.order_no, 1);
    await notPaid(order_no);
  });

  with_payer('an order paid elsewhere is not paid twice', {}, async (p) => {
    await p.enter();
    const { order_no, package: prepay } = await p.orders();
    await p.cancelsInWechat();
    await p.sees('cancelled');
    await demo.control('pay', { prepay_id: prepay.replace('prepay_id=', '') });
    await p.presses('继续支付');
    await p.sees('already_paid');
    await p.shows('already_paid');
    await p.presses('查看订单');
    await p.page.getByText('已支付', { exact: true }).waitFor();
    await paidOnce(order_no, 1);
    await p.presses('返回');
    await p.sees('choosing');
  });

  with_payer('a wrong paySign is refused by WeChat, and the payer gets a number to call about', {}, async (p) => {
    await p.page.route('**/api/wechat/pay/payWallet*', async (route) => {
      const answer = await route.fetch();
      const body = await answer.json();
      body.data.paySign = [...body.data.paySign].reverse().join('');
      await route.fulfill({ response: answer, json: body });
    });
    await p.enter();
    const { order_no } = await p.orders();
    await p.sees('bad_parameters');
    await p.shows('bad_parameters');
    assert.match(await p.page.locator('#text').innerText(), new RegExp(`编号 ${order_no.slice(-8)}）`));
    await notPaid(order_no);
  });

  with_payer('a page signed for another address learns it from WeChat, and is paid all the same', {}, async (p) => {
    await p.page.route('**/api/wechat/jssdk*', async (route) => {
      const answer = await route.fetch();
      const body = await answer.json();
      body.data.signature = '0'.repeat(40);
      await route.fulfill({ response: answer, json: body });
    });
    await p.enter();
    await p.page.getByText(/^JS-SDK 不可用（.*invalid signature.*）$/).waitFor();
    const { order_no } = await p.orders();
    await p.confirmsInWechat();
    await p.sees('paid');
    await paidOnce(order_no, 1);
  });

  with_payer('an order that WeChat cannot make now is called busy and not charged', {}, async (p) => {
    await p.enter();
    await p.chooses('1.00');
    await demo.control('faults', [{ on: 'unifiedorder', kind: 'drop' }]);
    await p.page.getByRole('button', { name: /^支付 ¥/ }).click();
    await p.sees('creating');
    await p.shows('creating');
    await p.sees('busy', 30_000);
    await p.shows('busy');
    await demo.control('faults', null, 'DELETE');
    // The service asks WeChat again at its own pace, and makes the same order then.
    const either = p.page.locator('body[data-screen="busy"], body[data-screen="waiting"]');
    for (let tries = 0; tries < 6 && (await p.page.locator('body[data-screen="waiting"]').count()) === 0; tries += 1) {
      await p.presses('重试');
      await either.waitFor({ timeout: 30_000 });
    }
    await p.sees('waiting');
    await p.confirmsInWechat();
    await p.sees('paid');
    const { orders } = await demo.control('ledger', null, 'GET');
    assert.equal(orders.filter((order) => order.openid === p.openid).length, 1);
  });
});

describe('getting in', () => {
  with_payer('a browser that is not WeChat is told within seconds', {}, async (p) => {
    await p.page.route('**/_sandbox/jweixin.js', (route) => route.abort());
    await p.page.goto(demo.page);
    await p.sees('outside', 6000);
    await p.shows('outside');
    assert.ok(!p.visits.some((url) => url.includes('/connect/oauth2/authorize')));
  });

  with_payer('a login that is over is entered again by the payer, with one press', {}, async (p) => {
    await p.enter();
    await p.context.clearCookies({ name: 'wxpay_session' });
    await p.page.getByRole('button', { name: /^支付 ¥/ }).click();
    await p.sees('login_expired');
    await p.shows('login_expired');
    await p.presses('重新进入');
    await p.agree();
    await p.sees('choosing');
  });

  with_payer('a login that does not last is tried once and no more', {}, async (p) => {
    const redirects = [];
    p.page.on('request', (request) => request.url().includes('/api/wechat/redirect') && redirects.push(request.url()));
    // A browser that keeps no cookies, as far as the page's own requests go.
    await p.page.addInitScript(() => {
      const { fetch } = window;
      window.fetch = (address, options) => fetch(address, { ...options, credentials: 'omit' });
    });
    await p.page.goto(demo.page);
    await p.agree();
    await p.sees('login_refused');
    await p.page.reload();
    await p.sees('login_refused');
    assert.equal(redirects.length, 1);
  });

  with_payer('the virtual user of a snapshot page is sold nothing', { snapshot: true }, async (p) => {
    // WeChat asks nobody here: there is no person to ask.
    await p.page.goto(demo.page);
    await p.sees('snapshot');
    await p.shows('snapshot');
    assert.deepEqual(await p.page.getByRole('button').allTextContents().then((all) => all.filter(Boolean)), ['使用完整服务']);
    const answer = await p.page.evaluate(async () => (await fetch('/api/wechat/pay/payWallet?money=1')).json());
    assert.equal(answer.reason, 'snapshot_user');
    assert.equal(await p.page.evaluate(() => document.cookie), '', 'no page takes a made-up user for a person');
  });

  with_payer('the person behind a snapshot page comes in with one press', { snapshot: true }, async (p) => {
    await p.page.goto(demo.page);
    await p.sees('snapshot');
    await demo.control('platform/user', { openid: p.openid, snapshot: false });
    await p.presses('使用完整服务');
    await p.agree();
    await p.sees('choosing');
    const { order_no } = await p.orders();
    await p.confirmsInWechat();
    await p.sees('paid');
    await paidOnce(order_no, 1);
  });

  with_payer('a payer who refuses the login can enter again', {}, async (p) => {
    await p.page.goto(demo.page);
    await p.presses('拒绝');
    await p.page.getByText('您已取消授权').waitFor();
    await p.shows('refused');
    // Back at the shop's page nothing has expired, and WeChat does not ask again by itself.
    await p.page.goto(demo.page);
    await p.sees('login_refused');
    await p.shows('login_refused');
    await p.presses('重新登录');
    await p.presses('拒绝');
    await p.page.getByRole('link', { name: '重新进入' }).click();
    await p.agree();
    await p.sees('choosing');
  });
});

describe('looks', () => {
  /** Text whose colour stands out from what is behind it by less than 4.5, as WCAG computes it. */
  const faint = () => {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const colour = channels(getComputedStyle(at).backgroundColor);
        if (colour.length === 3 || colour[3] === 1) return colour;
      }
      return [255, 255, 255];
    };
    return [...document.querySelectorAll('body *')]
      .filter((element) => element.checkVisibility() && [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
      .map((element) => {
        const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
        return [element.id || element.tagName, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
      })
      .filter(([, contrast]) => contrast < 4.5);
  };
  const small = () =>
    [...document.querySelectorAll('button, label')]
      .filter((element) => element.checkVisibility())
      .filter((element) => element.getBoundingClientRect().height < 44)
      .map((element) => element.textContent);

  for (const colorScheme of ['light', 'dark']) {
    with_payer(`text stands out and buttons can be hit on every screen, ${colorScheme}`, { colorScheme }, async (p) => {
      await p.enter();
      const screens = await p.page.evaluate(async () => Object.keys((await import('/demo/screens.js')).SCREENS));
      assert.ok(screens.length >= 14, screens.join(' '));
      for (const screen of screens) {
        await p.page.evaluate(async (name) => {
          (await import('/demo/screens.js')).show(name, { reference: 'ABCDEFGH', amount_fen: 1 });
        }, screen);
        assert.deepEqual(await p.page.evaluate(faint), [], screen);
        assert.deepEqual(await p.page.evaluate(small), [], screen);
      }
      await p.page.evaluate(async () => (await import('/demo/screens.js')).show('choosing'));
      await p.shows(`choosing-${colorScheme}`);
    });
  }

  with_payer('text of twice the size needs no sideways scrolling on any screen', {}, async (p) => {
    await p.enter();
    await p.page.evaluate(() => document.documentElement.style.setProperty('font-size', '200%'));
    const screens = await p.page.evaluate(async () => Object.keys((await import('/demo/screens.js')).SCREENS));
    for (const screen of screens) {
      const [inside, across] = await p.page.evaluate(async (name) => {
        const page = await import('/demo/screens.js');
        page.show(name, { reference: 'N'.repeat(20), amount_fen: 500_000 });
        page.showOrder({ order_no: 'W'.repeat(32), amount_fen: 500_000, state: 'paid', paid_at: new Date().toISOString() });
        return [document.documentElement.scrollWidth, document.documentElement.clientWidth];
      }, screen);
      assert.ok(inside <= across, `${screen}: ${inside} > ${across}`);
      const lines = await p.page.locator('#order-amount').evaluate((amount) => {
        const range = document.createRange();
        range.selectNodeContents(amount);
        return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
      });
      assert.equal(lines, 1, `${screen}: the order's amount is on ${lines} lines`);
      if (screen === 'unknown') await p.shows('text-200');
    }
    await p.page.reload();
    await p.page.evaluate(() => document.documentElement.style.setProperty('font-size', '200%'));
    await p.sees('choosing');
    await p.shows('choosing-200');
    await p.orders();
    await p.page.getByRole('button', { name: '确认支付' }).waitFor();
    await p.shows('sheet-200');
  });
});

describe('time', () => {
  with_payer('an order whose time is over is called closed, and another one made', { openid: EARLY }, async (p) => {
    await p.enter();
    // The payer left it unpaid when the page was closed.
    const kept = { order_no: early.order_no, amount_fen: early.amount_fen, offered: true, since: null, hint: 'ok' };
    await p.page.evaluate((order) => sessionStorage.setItem('checkout.order', JSON.stringify(order)), kept);
    await p.page.reload();
    const left_ms = Date.parse(early.expires_at) - Date.now();
    if (left_ms > 0) await p.sees('confirming');
    await p.sees('closed', Math.max(left_ms, 0) + 60_000);
    assert.equal((await demo.order(early.order_no)).state, 'closed');
    assert.ok(Date.now() >= Date.parse(early.expires_at), 'closed before its time');
    const again = await p.orders('重新下单');
    assert.notEqual(again.order_no, early.order_no);
    await p.confirmsInWechat();
    await p.sees('paid');
    await paidOnce(again.order_no, 100);
    await notPaid(early.order_no);
  });
});

it('no page of this run asked anything of another machine', () => {
  const origins = Payer.requested.map((url) => new URL(url)).filter((url) => url.protocol !== 'data:').map((url) => url.origin);
  assert.deepEqual([...new Set(origins)].sort(), [demo.service, demo.wechat].sort());
});
