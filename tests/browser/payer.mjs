// A payer with a phone: a headless Chromium of a phone's size, and the steps that the tests are told in.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const modules = process.env.WXPAY_TEST_NODE_MODULES || resolve('node_modules');
const { chromium } = createRequire(resolve(modules, '..', 'x.js'))('playwright-core');

const PHONE = { width: 375, height: 667 };
const pictures = process.env.WXPAY_SCREENSHOTS;

/** The text of every screen, word for word; `编号` stands where a reference number does. */
export const TEXTS = {
  choosing: '请选择金额',
  creating: '正在创建订单…',
  waiting: '请在微信中完成支付',
  confirming: '正在确认支付结果，请稍候',
  unknown: '支付结果确认中。如已扣款请勿重复支付，稍后可在订单页查看',
  paid: '支付成功',
  cancelled: '支付未完成，订单已保留',
  closed: '订单已超时关闭',
  already_paid: '该订单已支付，请勿重复付款',
  busy: '系统繁忙，请稍后再试（未扣款）',
  bad_parameters: /^支付参数异常，请联系客服（编号 \S{6,}）$/,
  outside: '请在微信中打开此页面',
  login_expired: '页面已过期，请重新进入',
  login_refused: '登录未完成，登录后才能支付',
  snapshot: '当前为快照页，请点击“使用完整服务”后支付',
};

/** The browser of all tests; no name but this machine's can be resolved in it. */
export async function startBrowser() {
  const browser = await chromium.launch({
    executablePath: process.env.WXPAY_TEST_CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
  });
  if (pictures) await mkdir(pictures, { recursive: true });
  return browser;
}

export class Payer {
  /** Every address that any page asked for, in the whole run. */
  static requested = [];

  /** Somebody whom neither WeChat nor the service has met, so that no test pays another one's order. */
  static async with(browser, demo, { snapshot = false, openid = Payer.openid(), ...options } = {}) {
    await demo.control('platform/user', { openid, nickname: '小明', snapshot });
    const context = await browser.newContext({ viewport: PHONE, deviceScaleFactor: 2, locale: 'zh-CN', ...options });
    context.setDefaultTimeout(15_000);
    const payer = new Payer(context, demo, await context.newPage(), openid);
    context.on('request', (request) => Payer.requested.push(request.url()));
    payer.page.on('pageerror', (error) => payer.errors.push(error.message));
    payer.page.on('console', (message) => {
      // A refused request is a console error too; what the policy blocks or a script throws is the page's own fault.
      if (/Content Security Policy|Uncaught/.test(message.text())) payer.errors.push(message.text());
    });
    payer.page.on('framenavigated', () => payer.visits.push(payer.page.url()));
    return payer;
  }

  static openid() {
    return `o${randomBytes(14).toString('hex').slice(1)}`;
  }

  constructor(context, demo, page, openid) {
    Object.assign(this, { context, demo, page, openid, errors: [], visits: [], screens: [] });
  }

  /** Leaves; a page that threw or met its own policy fails the test. */
  async leave() {
    await this.context.close();
    assert.deepEqual(this.errors, []);
  }

  /** Opens the page and agrees to the login when WeChat asks. */
  async enter() {
    await this.page.goto(this.demo.page);
    await this.agree();
    await this.sees('choosing');
  }

  async agree() {
    await this.page.getByRole('button', { name: '同意' }).click();
    await this.page.waitForURL(`${this.demo.page}**`);
  }

  /** Waits for a screen and holds its text to the word. */
  async sees(screen, timeout = 15_000) {
    await this.page.waitForSelector(`body[data-screen="${screen}"]`, { timeout });
    const text = (await this.page.locator('#text').innerText()).replace(/\n/g, '');
    if (TEXTS[screen] instanceof RegExp) assert.match(text, TEXTS[screen]);
    else assert.equal(text, TEXTS[screen]);
  }

  /** Notes every screen from here on, so that one that only flashed up is seen as well. */
  async noteScreens() {
    await this.page.exposeFunction('noteScreen', (name) => this.screens.push(name));
    await this.page.addInitScript(() => {
      new MutationObserver(() => window.noteScreen(document.body?.dataset.screen)).observe(document, {
        subtree: true,
        attributeFilter: ['data-screen'],
      });
    });
  }

  /** Waits for something that no page shows. */
  async until(what, is) {
    const end = Date.now() + 30_000;
    while (!is()) {
      if (Date.now() > end) throw new Error(`${what}: did not happen`);
      await new Promise((go) => setTimeout(go, 20));
    }
  }

  async chooses(yuan) {
    await this.page.getByLabel(`¥${yuan}`, { exact: true }).check();
  }

  /** Presses 支付 (or another button that orders); answers what the service handed to the page. */
  async orders(button = /^支付 ¥/) {
    const answered = this.page.waitForResponse((answer) => answer.url().includes('/pay/payWallet'));
    await this.page.getByRole('button', { name: button }).click();
    const { code, data } = await (await answered).json();
    assert.equal(code, 0);
    return data;
  }

  async presses(button) {
    await this.page.getByRole('button', { name: button, exact: true }).click();
  }

  /** In WeChat's payment sheet. */
  async confirmsInWechat() {
    await this.page.locator('#wechat-cashier').getByRole('button', { name: '确认支付' }).click();
  }

  async cancelsInWechat() {
    await this.page.locator('#wechat-cashier').getByRole('button', { name: '取消' }).click();
  }

  /** A picture for people, where a folder was named for them. */
  async shows(name) {
    if (!pictures) return;
    await this.page.evaluate(() => document.fonts.ready);
    await this.page.screenshot({ path: join(pictures, `${name}.png`) });
  }
}
