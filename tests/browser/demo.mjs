// `wxpayd demo` as the tests use it: the program as it is, on free ports and in a folder of its own, and what the shop and
// WeChat say over HTTP. Not a stand-in for anything: whatever is asserted here is read from the running service or simulator.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Starts the program and waits until it serves; `data` is the folder of a demo that ended. */
export async function startDemo(program, data) {
  data ??= await mkdtemp(join(tmpdir(), 'wxpay-demo.'));
  const child = spawn(program, ['demo', '--json', '--listen', '127.0.0.1:0', '--data', data], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = [];
  createInterface(child.stderr).on('line', (line) => said.push(line));
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  const line = await Promise.race([
    new Promise((resolve) => createInterface(child.stdout).once('line', resolve)),
    ended.then((how) => Promise.reject(new Error(`wxpayd demo ended (${how}):\n${said.join('\n')}`))),
  ]);
  return new Demo(JSON.parse(line), { child, ended, data, said });
}

class Demo {
  #process;

  constructor(addresses, process) {
    Object.assign(this, addresses);
    this.#process = process;
  }

  /** What the program wrote to stderr: its story, then its warnings. */
  get said() {
    return this.#process.said;
  }

  /** Ends it; answers its folder, where that is kept for another one. */
  async stop({ keeps = false } = {}) {
    this.#process.child.kill('SIGTERM');
    const how = await this.#process.ended;
    if (!keeps) await rm(this.#process.data, { recursive: true, force: true });
    if (how !== 0) throw new Error(`wxpayd demo ended with ${how}:\n${this.said.join('\n')}`);
    return this.#process.data;
  }

  /** The order as the shop's server sees it. */
  async order(order_no) {
    const headers = { Authorization: `Bearer ${this.api_key}` };
    return json(await fetch(`${this.service}/v1/orders/${order_no}`, { headers }));
  }

  /** An order that the shop's server places for a payer; it ends as soon as WeChat lets an order end. */
  async shortOrder(order_no, openid) {
    const headers = { Authorization: `Bearer ${this.api_key}`, 'Content-Type': 'application/json' };
    const expires_at = new Date(Date.now() + 65_000).toISOString();
    const order = { order_no, openid, expires_at, amount_fen: 100, description: 'a coffee', trade_type: 'JSAPI' };
    return json(await fetch(`${this.service}/v1/orders`, { method: 'POST', headers, body: JSON.stringify(order) }));
  }

  /** WeChat's own ledger of one number: the truth. */
  async ledger(out_trade_no) {
    return json(await fetch(`${this.wechat}/_sandbox/ledger?mch_id=${this.mch_id}&out_trade_no=${out_trade_no}`));
  }

  /** The simulator's control API. */
  async control(path, body, method = 'POST') {
    const init = method === 'POST' ? { method, body: JSON.stringify(body) } : { method };
    const answer = await fetch(`${this.wechat}/_sandbox/${path}`, init);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** Closes an order at WeChat, as another system of the same merchant may: API v2, signed with the merchant's key. */
  async closeAtWechat(out_trade_no) {
    const fields = { appid: this.app_id, mch_id: this.mch_id, nonce_str: 'tests', out_trade_no, sign_type: 'HMAC-SHA256' };
    const text = Object.keys(fields).sort().map((name) => `${name}=${fields[name]}`).join('&');
    fields.sign = createHmac('sha256', this.v2_key).update(`${text}&key=${this.v2_key}`).digest('hex').toUpperCase();
    const xml = Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`).join('');
    const answer = await fetch(`${this.wechat}/pay/closeorder`, { method: 'POST', body: `<xml>${xml}</xml>` });
    const body = await answer.text();
    if (!/<result_code>(<!\[CDATA\[)?SUCCESS/.test(body)) throw new Error(`closeorder: ${body}`);
  }
}

async function json(answer) {
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
