// The service and the simulator as processes of their own, with a configuration file that a signal has read anew.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const STARTS_WITHIN_MS = 60_000;

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Asks until the answer is as wanted: nothing signals the change of another process. */
export async function until(what, ask) {
  for (const end = Date.now() + STARTS_WITHIN_MS; Date.now() < end; await new Promise((go) => setTimeout(go, 50))) {
    const found = await ask().catch(() => null);
    if (found) return found;
  }
  throw new Error(`${what} did not happen within ${STARTS_WITHIN_MS} ms`);
}

export class Installation {
  app_id = 'wx8888888888888888';
  mch_id = '1900000109';
  api_key = 'of-the-browser-tests';
  #processes = [];

  /**
   * Starts the simulator; the service has its database and its configuration, with this key, and `more` sections. Pages that log
   * in need the address at which they see the service, and the app's secret.
   */
  static async prepare(program, v2_key, more = '', { public_url, secret } = {}) {
    const self = new Installation();
    Object.assign(self, { program, v2_key, folder: await mkdtemp(join(tmpdir(), 'wxpay-installation.')) });
    const [port, wechat, tls] = [await freePort(), await freePort(), await freePort()];
    self.service = `http://127.0.0.1:${port}`;
    self.wechat = `http://127.0.0.1:${wechat}`;
    Object.assign(self, { public_url: public_url ?? self.service, secret });
    self.config = join(self.folder, 'wxpay.toml');
    await writeFile(join(self.folder, 'v2_key.txt'), v2_key);
    await writeFile(self.config, self.#configuration(port) + more);
    const listen = ['--listen', `127.0.0.1:${wechat}`, '--tls-listen', `127.0.0.1:${tls}`];
    self.#spawn(join(dirname(program), 'wxpay-sandbox'), [...listen, '--config', self.config]);
    await until('the simulator', async () => (await fetch(`${self.wechat}/_sandbox/ledger`)).ok);
    return self;
  }

  #configuration(port) {
    const hash = createHash('sha256').update(this.api_key).digest('hex');
    return `
      [server]
      listen = "127.0.0.1:${port}"
      public_url = "${this.public_url}"
      [store]
      url = "sqlite://${join(this.folder, 'wxpay.db')}"
      [bus]
      url = "embedded:"
      [wechat]
      pay_url = "${this.wechat}"
      pay_backup_url = "${this.wechat}"
      api_url = "${this.wechat}"
      open_url = "${this.wechat}"
      [console]
      enabled = true
      [[apps]]
      key = "shop"
      app_id = "${this.app_id}"
      kind = "official_account"
      ${this.secret ? `secret = "${this.secret}"` : ''}
      [[merchants]]
      key = "main"
      mch_id = "${this.mch_id}"
      apps = ["shop"]
      sign_type = "HMAC-SHA256"
      v2_key_file = "${join(this.folder, 'v2_key.txt')}"
      [[api_keys]]
      name = "tests"
      hash = "sha256:${hash}"
      scopes = ["orders", "finance", "ops"]
    `;
  }

  #spawn(program, args) {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.said = [];
    child.stderr.on('data', (data) => child.said.push(String(data)));
    child.ended = new Promise((resolve) => child.once('exit', resolve));
    this.#processes.push(child);
    return child;
  }

  /** Starts the service with these roles. */
  async run(roles) {
    const child = this.#spawn(this.program, ['run', '--config', this.config, '--only', roles]);
    await until('the service', async () => child.exitCode !== null || (await fetch(`${this.service}/readyz`)).ok);
    if (child.exitCode !== null) throw new Error(`wxpayd run ended:\n${child.said.join('')}`);
    return child;
  }

  /** Has a process read another key, by SIGHUP. */
  async changeKey(child, key) {
    const hash = async () => (await (await fetch(`${this.service}/readyz`)).json()).config_hash;
    const before = await hash();
    await writeFile(join(this.folder, 'v2_key.txt'), key);
    child.kill('SIGHUP');
    await until('the other key', async () => (await hash()) !== before);
  }

  /** Where a new user sets its password. */
  async invitation(name, role = 'admin') {
    const args = ['console', 'add-user', '--config', this.config, name, '--role', role];
    const { stdout } = await promisify(execFile)(this.program, args);
    return `${this.service}${stdout.match(/\/console\/invitation\/\S+/)[0]}`;
  }

  async request(method, path, body) {
    const headers = { Authorization: `Bearer ${this.api_key}`, 'Content-Type': 'application/json' };
    const answer = await fetch(`${this.service}${path}`, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  /** The simulator's control API. */
  async control(path, body) {
    const answer = await fetch(`${this.wechat}/_sandbox/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  }

  async stop() {
    for (const child of this.#processes.reverse()) {
      child.kill('SIGTERM');
      await child.ended;
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
