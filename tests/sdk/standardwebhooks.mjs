// The npm package standardwebhooks, unchanged, over what a service posted: {"secret", "headers", "body"} per line of
// stdin. Prints the id of each event that verifies; a tampered copy and another secret must not.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(process.env.WXPAY_TEST_NODE_MODULES + '/');
const { Webhook, WebhookVerificationError } = require('standardwebhooks');

const refused = (run) => {
  try {
    run();
  } catch (error) {
    if (error instanceof WebhookVerificationError) return;
    throw error;
  }
  throw new Error('a forged message verifies');
};

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  const event = new Webhook(secret).verify(body, headers);
  if (event.id !== headers['webhook-id']) throw new Error('the ids differ');
  refused(() => new Webhook(secret).verify(body.replace('main', 'mine'), headers));
  refused(() => new Webhook('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw').verify(body, headers));
  refused(() => new Webhook(secret).verify(body, { ...headers, 'webhook-id': 'another' }));
  console.log(event.id);
}
