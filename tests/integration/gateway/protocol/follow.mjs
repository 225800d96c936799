// Follows a gateway with the TypeScript client and prints what it sees, one JSON object per line; ends with its input.
//
//   node follow.mjs '{"url":"ws://…","encoding":"msgpack","queueSize":1024,"subscriptions":[{"channel":"book",…}]}'
//
// A line "stop" pauses the reading of all subscriptions, "go" goes on with it.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

import { Client, json } from '../../../../gateway/client/dist/index.js';
import { msgpack } from '../../../../gateway/client/dist/msgpack.js';

const { WebSocket } = createRequire(new URL('../../../../gateway/client/package.json', import.meta.url))('ws');
const { url, encoding, queueSize, subscriptions } = JSON.parse(process.argv[2]);

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const client = new Client(url, { encoding: encoding === 'msgpack' ? msgpack : json, webSocket: WebSocket, queueSize });
const pairs = (levels) => levels.map(({ price, size }) => [price, size]);

let reading = Promise.resolve();
let goOn = () => undefined;
createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'stop') reading = new Promise((resolve) => (goOn = resolve));
    else goOn();
  })
  .on('close', () => process.exit(0));

async function follow(index, { channel, ...options }) {
  const subscription = client.subscribe(channel, options);
  for await (const message of subscription) {
    await reading;
    const { type, venue, symbol } = message;
    const head = { index, type, channel, venue, symbol };
    if (type === 'gap') say({ ...head, reason: message.reason });
    else if (channel === 'book' || channel === 'l2') {
      const { valid, epoch, sequence, bids, asks, reason } = client.book(venue, symbol, channel);
      say({ ...head, valid, reason, epoch, sequence, bids: pairs(bids), asks: pairs(asks) });
    } else if (channel === 'bbo') {
      const { valid, epoch, sequence, bid, ask } = message;
      say({ ...head, valid, epoch, sequence, bids: pairs(bid ? [bid] : []), asks: pairs(ask ? [ask] : []) });
    } else if (channel === 'trades') say({ ...head, ids: message.trades.map(({ id }) => id) });
  }
}

await client.connect(60_000);
say({ type: 'connected' });
await Promise.all(subscriptions.map((subscription, index) => follow(index, subscription)));
