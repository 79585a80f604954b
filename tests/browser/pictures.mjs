// The pictures of docs/: every state of the pages that a payer meets, in one sheet for each width, light above, dark below; and
// those of the README, from one of the visits.
//
//   target/debug must have wxpayd; tests/run.sh --install brings the driver.
//   WXPAYD=target/debug/wxpayd WXPAY_TEST_NODE_MODULES=target/test-tools/node/node_modules node tests/browser/pictures.mjs docs
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { startDemo } from './demo.mjs';
import { Payer, startBrowser } from './payer.mjs';
import { encode } from './png.mjs';

const folder = process.argv[2] ?? 'docs';
/** Name, window, the part of it that is shown, and how small. */
const SHEETS = [
  { name: 'payer-360', viewport: { width: 360, height: 740 }, scale: 0.65, columns: 11 },
  { name: 'payer-390', viewport: { width: 390, height: 844 }, sharp: 2, scale: 0.65, columns: 11 },
  { name: 'payer-desktop', viewport: { width: 1280, height: 900 }, clip: { x: 400, y: 0, width: 480, height: 900 }, scale: 0.55, columns: 11 },
];
/** The README's, by the state that each shows. */
const OF_README = new Map([['choosing', 'checkout-choosing'], ['sheet', 'checkout-waiting'], ['paid', 'checkout-paid'], ['cashier', 'cashier']]);
const RECEIPT = {
  order_no: 'W20261127xISJm0Ud87vhW9ujI5YPOE', description: 'wxpay-worker 演示', amount_fen: 2000, state: 'paid',
  paid_at: '2026-11-29T12:00:00Z', transaction_id: '4200553214202611220000000000',
};
/** Screens of the shop's page that are shown without the way to them. */
const SCREENS = ['creating', 'waiting', 'confirming', 'unknown', 'closed', 'already_paid', 'busy', 'bad_parameters'];
const WITHOUT_ORDER = ['outside', 'login_expired', 'login_refused', 'snapshot'];

/** Every state with its picture, taken in one visit. */
async function states(browser, demo, sheet, colorScheme) {
  const taken = [];
  const p = await Payer.with(browser, demo, { viewport: sheet.viewport, colorScheme, deviceScaleFactor: sheet.sharp ?? 1 });
  const take = async (name) => {
    await p.page.evaluate(() => document.fonts.ready);
    taken.push([name, await p.page.screenshot({ clip: sheet.clip, animations: 'disabled' })]);
  };
  await p.page.goto(demo.page);
  await p.page.getByRole('button', { name: '同意' }).waitFor();
  await take('login');
  await p.presses('拒绝');
  await p.page.getByRole('link', { name: '重新进入' }).waitFor();
  await take('refused');
  await p.page.getByRole('link', { name: '重新进入' }).click();
  await p.agree();
  await p.sees('choosing');
  await p.page.getByText('JS-SDK 已就绪').waitFor();
  await p.chooses('20.00');
  await take('choosing');
  const { package: prepay } = await p.orders();
  await p.page.locator('#wechat-cashier').getByRole('button', { name: '确认支付' }).waitFor();
  await take('sheet');
  await p.cancelsInWechat();
  await p.sees('cancelled');
  await take('cancelled');
  for (const screen of [...SCREENS, ...WITHOUT_ORDER]) {
    const details = { reference: 'ABCDEFGH', amount_fen: WITHOUT_ORDER.includes(screen) ? null : 2000 };
    await p.page.evaluate(async ([name, more]) => (await import('/demo/screens.js')).show(name, more), [screen, details]);
    await take(screen);
  }
  await p.page.evaluate(async (order) => {
    const page = await import('/demo/screens.js');
    page.show('paid', { reference: 'YI5PYOE1', amount_fen: order.amount_fen });
    page.showReceipt(order);
  }, RECEIPT);
  await take('paid');
  const cashier = `${demo.wechat}/_sandbox/cashier?${prepay}&redirect_url=${encodeURIComponent(demo.page)}`;
  await p.page.goto(cashier);
  await take('cashier');
  await p.page.getByRole('button', { name: '取消' }).click();
  await p.page.getByRole('link', { name: '继续支付' }).waitFor();
  await take('cashier-left');
  await p.page.goto(cashier);
  await p.presses('确认支付');
  await p.page.getByRole('heading', { name: '支付成功' }).waitFor();
  await take('cashier-paid');
  await p.page.goto(`${demo.wechat}/_sandbox/cashier?prepay_id=wx0`);
  await take('cashier-none');
  await p.leave();
  return taken;
}

/** All pictures in one, with their names. */
async function compose(browser, sheet, rows) {
  const { width, height } = sheet.clip ?? sheet.viewport;
  const [w, h] = [Math.round(width * sheet.scale), Math.round(height * sheet.scale)];
  const page = await browser.newPage({ viewport: { width: sheet.columns * (w + 8) + 8, height: 100 } });
  const figures = rows.flat().map(
    ([name, picture]) =>
      `<figure><img width="${w}" height="${h}" src="data:image/png;base64,${picture.toString('base64')}"><figcaption>${name}</figcaption></figure>`,
  );
  await page.setContent(`<style>body{margin:8px;display:grid;grid-template-columns:repeat(${sheet.columns},${w}px);gap:8px;
    background:#fff;font:12px sans-serif}figure{margin:0;text-align:center}img{display:block;outline:1px solid #ccc}</style>${figures.join('')}`);
  await page.evaluate(() => Promise.all([...document.images].map((image) => image.decode())));
  const whole = await page.screenshot({ fullPage: true });
  const pixels = await page.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const bytes = context.getImageData(0, 0, image.width, image.height).data;
    let text = '';
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return { width: image.width, height: image.height, data: btoa(text) };
  }, whole.toString('base64'));
  await page.close();
  return encode(pixels.width, pixels.height, Buffer.from(pixels.data, 'base64'));
}

const demo = await startDemo(process.env.WXPAYD);
const browser = await startBrowser();
try {
  await mkdir(folder, { recursive: true });
  for (const sheet of SHEETS) {
    const rows = [];
    for (const colorScheme of ['light', 'dark']) {
      const taken = await states(browser, demo, sheet, colorScheme);
      rows.push(taken);
      if (!sheet.sharp || colorScheme !== 'light') continue;
      for (const [name, picture] of taken) {
        if (OF_README.has(name)) await writeFile(join(folder, `${OF_README.get(name)}.png`), picture);
      }
    }
    const picture = await compose(browser, sheet, rows);
    await writeFile(join(folder, `${sheet.name}.png`), picture);
    console.log(`${sheet.name}.png: ${picture.length} bytes, ${rows[0].length} states`);
  }
} finally {
  await browser.close();
  await demo.stop();
}
