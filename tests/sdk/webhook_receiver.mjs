// A receiver of webhooks that verifies with the npm package standardwebhooks and may be killed at any time.
//
//     PORT=8090 SECRET_FILE=secret JOURNAL=events.jsonl node webhook_receiver.mjs
//
// It keeps each event once, by its id, on the disk before it answers. The first one that it keeps after a start it does
// not answer, as if it had been killed in between: that comes again, and its id tells.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(process.env.WXPAY_TEST_NODE_MODULES + '/');
const { Webhook } = require('standardwebhooks');

const { PORT, SECRET_FILE, JOURNAL } = process.env;

const ids = new Set();
if (existsSync(JOURNAL)) {
  // A kill in the middle of a write leaves a piece of a line, which was not answered.
  const bytes = readFileSync(JOURNAL);
  const whole = bytes.lastIndexOf('\n') + 1;
  truncateSync(JOURNAL, whole);
  const lines = bytes.subarray(0, whole).toString().split('\n').filter(Boolean);
  lines.forEach((line) => ids.add(JSON.parse(line).id));
}
const file = openSync(JOURNAL, 'a');
process.on('exit', () => closeSync(file));
const webhook = new Webhook(readFileSync(SECRET_FILE, 'utf8').trim());

let hasBegun = false;

// Whether it was new.
const record = (event) => {
  if (ids.has(event.id)) return false;
  writeSync(file, JSON.stringify(event) + '\n');
  fsyncSync(file);
  ids.add(event.id);
  return true;
};

const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    let isNew;
    try {
      isNew = record(webhook.verify(Buffer.concat(parts).toString(), request.headers));
    } catch (error) {
      console.error('refused:', error.message);
      response.writeHead(400).end();
      return;
    }
    if (isNew && !hasBegun) {
      hasBegun = true;
      request.socket.destroy();
      return;
    }
    response.writeHead(200).end();
  });
});
server.listen(Number(PORT), '127.0.0.1');
