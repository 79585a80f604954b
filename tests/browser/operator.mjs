// A person at the operators' console, and the notifications that they look after.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { join } from 'node:path';

const WIDTHS = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };
const pictures = process.env.WXPAY_SCREENSHOTS;

/** A notification of a payment at this moment, to a merchant (`app_id`, `mch_id`), signed with this key. */
export function notification(merchant, order, key) {
  const fields = {
    appid: merchant.app_id, bank_type: 'OTHERS', cash_fee: order.amount_fen, fee_type: 'CNY', is_subscribe: 'N',
    mch_id: merchant.mch_id, nonce_str: 'tests', openid: order.openid, out_trade_no: order.out_trade_no,
    result_code: 'SUCCESS', return_code: 'SUCCESS', sign_type: 'HMAC-SHA256', time_end: beijing(Date.now()),
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

/** A browser at a console, in a language, of a width and in colours; what a page's own policy blocks is an error. */
export async function openConsole(browser, service, password, { width, lang, theme }) {
  const context = await browser.newContext({
    viewport: WIDTHS[width], deviceScaleFactor: 1, colorScheme: theme, locale: lang === 'zh' ? 'zh-CN' : 'en-GB',
  });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => /Content Security Policy|Uncaught/.test(message.text()) && errors.push(message.text()));
  const shows = async (name) => {
    if (pictures) await page.screenshot({ path: join(pictures, `console-${name}-${width}-${lang}-${theme}.png`), fullPage: true });
  };
  const leaves = async () => {
    await context.close();
    assert.deepEqual(errors, []);
  };
  const opens = async (path) => {
    const answer = await page.goto(`${service}${path}`);
    assert.equal(answer.status(), 200, path);
    // Nothing is wider than the screen.
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wider <= 0, `${path} is ${wider} px too wide`);
    return answer;
  };
  const logs_in = async (name) => {
    await page.goto(`${service}/console`);
    await page.locator('input[name=name]').fill(name);
    await page.locator('input[name=password]').fill(password);
    await page.locator('button.primary').click();
    await page.locator('nav.places').waitFor();
  };
  return { context, page, errors, shows, leaves, opens, logs_in };
}

/** Sets the password of an invitation. */
export async function accepts(browser, service, invitation, password) {
  const { page, leaves } = await openConsole(browser, service, password, { width: 'desktop', lang: 'en', theme: 'light' });
  await page.goto(invitation);
  await page.locator('input[name=password]').fill(password);
  await page.locator('input[name=repeated]').fill(password);
  await page.locator('button.primary').click();
  await page.waitForURL('**/console/login');
  await leaves();
}
