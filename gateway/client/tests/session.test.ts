import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Book } from '../src/book.ts';
import { CODES } from '../src/reconnecting.ts';
import { AGAIN_AFTER_MS, DEAD_HEARTBEATS, REFUSED_RETRY_MS } from '../src/session.ts';
import { Request } from '../src/subscriptions.ts';
import { KRAKEN, Pair, type EncodingName } from './gateway.ts';

const ENCODINGS: EncodingName[] = ['json', 'msgpack'];
const BOOK = new Request('book', ['kraken'], ['BTC-USD'], { checksum: true });
const TRADES = new Request('trades', ['kraken'], ['BTC-USD']);

function trade(id: string): Record<string, unknown> {
  return { id, side: 'buy', price: '100.5', size: '0.1', time: 5, received_time: 6 };
}

function bookOf(pair: Pair): Book {
  const book = pair.session.book('book', 'kraken', 'BTC-USD');
  if (!book) throw new Error('no book');
  return book;
}

function expectInStep(pair: Pair): void {
  const { bids, asks, epoch, sequence } = bookOf(pair);
  expect([epoch, sequence]).toEqual([pair.market.epoch.toString(), pair.market.sequence]);
  expect({ bids, asks }).toEqual(pair.market.state(epoch, sequence));
}

describe.each(ENCODINGS)('a session in %s', (encoding) => {
  function started(): Pair {
    const pair = new Pair(encoding);
    pair.session.subscribe(BOOK);
    pair.connect();
    return pair;
  }

  it('keeps a book and delivers its messages', () => {
    const pair = started();
    pair.move(3);
    expect(pair.types).toEqual(['snapshot', 'delta', 'delta', 'delta']);
    expectInStep(pair);
    expect(bookOf(pair).valid).toBe(true);
    expect(bookOf(pair).bestBid).toBe(bookOf(pair).bids[0]);
  });

  it('takes several messages in one WebSocket message', () => {
    const pair = started();
    for (let n = 0; n < 4; n += 1) {
      pair.market.move();
      pair.delta();
    }
    pair.exchange(4);
    expectInStep(pair);
  });

  it('continues after a reconnection and tells no gap', () => {
    const pair = started();
    pair.move();
    const since = [{ ...KRAKEN, epoch: pair.market.epoch.toString(), sequence: pair.market.sequence }];
    pair.disconnect();
    expect(bookOf(pair).reason).toBe('disconnected');
    pair.move(3);
    pair.connect();
    expect(pair.received.at(-1)?.['since']).toEqual(since);
    expect(pair.types).toEqual(['snapshot', 'delta', 'delta', 'delta', 'delta']);
    expectInStep(pair);
  });

  it('has a valid book without a message when nothing was missed', () => {
    const pair = started();
    pair.disconnect();
    pair.connect();
    expect(bookOf(pair).valid).toBe(true);
    expect(pair.types).toEqual(['snapshot']);
  });

  it('tells what could not be recovered before the snapshot', () => {
    const pair = started();
    pair.disconnect();
    pair.move(pair.history + 1);
    pair.connect();
    expect(pair.types).toEqual(['snapshot', 'gap', 'snapshot']);
    expect(pair.messages[1]).toEqual({ type: 'gap', channel: 'book', ...KRAKEN, reason: 'not_recovered' });
    expectInStep(pair);
  });

  it.each(['sequence', 'checksum'])('tells a wrong %s and asks again', (fault) => {
    const pair = started();
    pair.now += AGAIN_AFTER_MS;
    pair.market.move();
    pair.delta();
    const [delta] = pair.sent;
    if (!delta) throw new Error('nothing sent');
    if (fault === 'sequence') delta['previous_sequence'] = -7;
    else delta['checksum'] = 1;
    pair.exchange();
    expect(pair.types).toEqual(['snapshot', 'gap', 'snapshot']);
    expect(pair.messages[1]).toMatchObject({ reason: fault });
    expect(pair.received.at(-1)).toEqual({ op: 'subscribe', channel: 'book', ...KRAKEN, checksum: true, id: 3 });
    expectInStep(pair);
    expect(pair.session.counters.gaps).toBe(1);
  });

  it('asks with pauses while a book stays wrong', () => {
    const pair = started();
    for (let n = 0; n < 3; n += 1) {
      pair.snapshot();
      const [message] = pair.sent;
      if (message) message['checksum'] = 1;
      pair.exchange();
    }
    expect(pair.received).toHaveLength(1);
    pair.passTime(AGAIN_AFTER_MS);
    expect(bookOf(pair).valid).toBe(true);
  });

  it('tells an invalid book, and asks for no continuation of it', () => {
    const pair = started();
    pair.snapshot('invalid');
    pair.exchange();
    expect([bookOf(pair).reason, bookOf(pair).bids.length]).toEqual(['invalid', 0]);
    pair.disconnect();
    pair.connect();
    expect(pair.received.at(-1)).not.toHaveProperty('since');
    expect(bookOf(pair).valid).toBe(true);
  });

  it('judges the age by the clock of the gateway', () => {
    const pair = started();
    pair.now += 4_900;
    expect([bookOf(pair).age, bookOf(pair).valid]).toEqual([4_900_000, true]);
    pair.now += 200;
    expect([bookOf(pair).reason, bookOf(pair).inStep]).toEqual(['stale', true]);
    pair.move();
    expect(bookOf(pair).valid).toBe(true);
  });

  it('never calls a book in step that is not the true one', () => {
    const step = fc.constantFrom('move', 'move', 'drop', 'corrupt', 'repeat', 'invalid', 'epoch', 'disconnect', 'wait');
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 30 }), (seed, together, steps) => {
        const pair = new Pair(encoding, { seed });
        pair.session.subscribe(BOOK);
        pair.afterEach = () => {
          const { inStep, bids, asks, epoch, sequence } = bookOf(pair);
          if (inStep) expect({ bids, asks }).toEqual(pair.market.state(epoch, sequence));
        };
        pair.connect();
        for (const name of [...steps, 'wait', 'move', 'wait']) {
          take(pair, name);
          pair.exchange(together);
        }
        expectInStep(pair);
      }),
      { numRuns: 60 },
    );
  });
});

function take(pair: Pair, step: string): void {
  if (step === 'disconnect') {
    pair.disconnect();
    pair.market.move();
    pair.connect();
  } else if (step === 'wait') {
    pair.passTime(AGAIN_AFTER_MS);
  } else if (step === 'epoch') {
    pair.market.restart();
    pair.snapshot();
  } else if (step === 'invalid') {
    pair.snapshot('invalid');
    pair.snapshot();
  } else {
    pair.market.move();
    pair.delta();
    if (step === 'drop') pair.sent = [];
    if (step === 'repeat') pair.sent.push(...pair.sent);
    if (step === 'corrupt') for (const message of pair.sent) message['checksum'] = 1;
  }
}

describe('a session', () => {
  it('continues trades after the last one, and tells those that were dropped', () => {
    const pair = new Pair();
    pair.session.subscribe(TRADES);
    pair.connect();
    pair.say({ type: 'subscribed', id: 2, channel: 'trades', feeds: [{ ...KRAKEN, recovered: null }] });
    pair.say({ type: 'snapshot', channel: 'trades', ...KRAKEN, trades: [trade('1'), trade('2')] });
    pair.disconnect();
    pair.connect();
    expect(pair.received.at(-1)?.['since']).toEqual([{ ...KRAKEN, trade_id: '2' }]);
    pair.say({ type: 'subscribed', id: 3, channel: 'trades', feeds: [{ ...KRAKEN, recovered: true }] });
    pair.say({ type: 'trades', channel: 'trades', ...KRAKEN, trades: [trade('3')] });
    pair.say({ type: 'snapshot', channel: 'trades', ...KRAKEN, trades: [trade('9')], gap: true });
    expect(pair.types).toEqual(['snapshot', 'trades', 'gap', 'snapshot']);
  });

  it('refuses subscriptions that could share a feed', () => {
    const { session } = new Pair();
    session.subscribe(new Request('book', ['kraken', 'bin*'], ['BTC-*']));
    session.subscribe(new Request('trades', ['*'], ['*']));
    session.subscribe(new Request('book', ['kraken'], ['ETH-USD']));
    expect(() => session.subscribe(new Request('book', ['binance'], ['*-USD']))).toThrow(
      'book binance *-USD: overlaps the subscription to book kraken,bin* BTC-*',
    );
  });

  it('delivers feeds that a pattern covers later, and nothing that belongs to no subscription', () => {
    const pair = new Pair();
    const key = pair.session.subscribe(new Request('trades', ['*'], ['BTC-*']));
    pair.connect();
    pair.say({ type: 'subscribed', id: 2, channel: 'trades', feeds: [] });
    pair.say({ type: 'subscribed', id: 2, channel: 'trades', feeds: [{ venue: 'okx', symbol: 'BTC-EUR', recovered: null }] });
    pair.say({ type: 'trades', channel: 'trades', venue: 'okx', symbol: 'BTC-EUR', trades: [trade('1')] });
    pair.say({ type: 'trades', channel: 'trades', venue: 'okx', symbol: 'SOL-EUR', trades: [trade('1')] });
    expect(pair.types).toEqual(['trades']);
    expect(pair.events.filter((event) => event.type === 'confirmed' && event.key === key)).toHaveLength(2);
    pair.session.unsubscribe(key);
    pair.say({ type: 'trades', channel: 'trades', venue: 'okx', symbol: 'BTC-EUR', trades: [trade('2')] });
    expect(pair.types).toEqual(['trades']);
    expect(pair.received.at(-1)).toMatchObject({ op: 'unsubscribe', venue: '*', symbol: 'BTC-*' });
  });

  it('ends a refused subscription, but tries one again that was good before', () => {
    const pair = new Pair();
    pair.session.subscribe(TRADES);
    pair.connect();
    pair.say({ type: 'subscribed', id: 2, channel: 'trades', feeds: [] });
    pair.disconnect();
    pair.connect();
    pair.say({ type: 'error', id: 3, code: 'unknown_instrument', message: 'not yet' });
    pair.passTime(REFUSED_RETRY_MS);
    expect(pair.received.map(({ op }) => op)).toEqual(['subscribe', 'subscribe', 'ping', 'subscribe']);
    pair.say({ type: 'error', id: 5, code: 'forbidden', message: 'no' });
    expect(pair.events.at(-1)).toMatchObject({ type: 'refused', error: { message: 'forbidden: no' } });
  });

  it('waits as long as a rate limit says', () => {
    const pair = new Pair();
    pair.session.subscribe(TRADES);
    pair.connect();
    pair.say({ type: 'error', id: 2, code: 'rate_limited', message: 'slow down', retry_after_ms: 700 });
    pair.passTime(600);
    expect(pair.received).toHaveLength(1);
    pair.passTime(200);
    expect(pair.received).toHaveLength(2);
  });

  it('asks for nothing before the token is accepted, and for a token before its end', () => {
    const pair = new Pair('json', { access: 'required' });
    pair.session.subscribe(TRADES);
    pair.connect();
    expect(pair.received).toEqual([]);
    expect(pair.events.at(-1)).toEqual({ type: 'tokenNeeded', expires: null });
    pair.session.authenticate('secret');
    pair.exchange();
    expect(pair.received).toEqual([{ op: 'auth', token: 'secret', id: 2 }]);
    pair.say({ type: 'authenticated', id: 2, identity: 'desk-1', scopes: ['stream:*'], expires: 99 });
    expect(pair.received.at(-1)).toMatchObject({ op: 'subscribe' });
    pair.say({ type: 'token_expiring', expires: 99 });
    expect(pair.events.at(-1)).toEqual({ type: 'tokenNeeded', expires: 99 });
    pair.session.authenticate('wrong');
    pair.exchange();
    pair.say({ type: 'error', id: 4, code: 'unauthorized', message: 'no' });
    expect(pair.events.at(-1)).toEqual({ type: 'hangUp', code: 3000, reason: 'unauthorized: no' });
  });

  it('tells feeds that new credentials do not cover', () => {
    const pair = new Pair();
    pair.session.subscribe(BOOK);
    pair.connect();
    pair.say({ type: 'unsubscribed', id: null, channel: 'book', feeds: [KRAKEN] });
    expect(pair.messages.at(-1)).toMatchObject({ type: 'gap', reason: 'forbidden' });
    expect(bookOf(pair).reason).toBe('forbidden');
  });

  it('gives snapshots on demand, which change no subscription', () => {
    const pair = new Pair();
    pair.session.subscribe(BOOK);
    pair.connect();
    const id = pair.session.requestSnapshot(BOOK);
    pair.exchange();
    const head = { type: 'snapshot', channel: 'book', ...KRAKEN, id, time: 1, valid: true, reason: null, bids: [], asks: [] };
    pair.say({ ...head, epoch: '1', sequence: 5 }, { type: 'done', id, feeds: 1 });
    expect(pair.events.at(-1)).toMatchObject({ type: 'answered', id, messages: [{ sequence: 5 }] });
    expectInStep(pair);
    const lost = pair.session.requestSnapshot(BOOK);
    pair.disconnect();
    expect(pair.events.at(-1)).toMatchObject({ type: 'failed', id: lost });
  });

  it('hangs up a silent connection, unless the user is the slow one', () => {
    const pair = new Pair();
    pair.connect();
    pair.now += DEAD_HEARTBEATS * 5_000 + 1;
    expect(pair.session.tick(false)).toEqual([]);
    expect(pair.session.liveness).toBe('live');
    pair.now += DEAD_HEARTBEATS * 5_000 + 1;
    expect(pair.session.liveness).toBe('stale');
    expect(pair.session.tick()).toMatchObject([{ type: 'hangUp', code: CODES.dead }]);
  });

  it.each(['{', '[1]', '{"no":"type"}', '{"type":"hello"}', '{"type":"hello","version":1}'])('hangs up on %s', (data) => {
    const pair = new Pair();
    pair.connect();
    expect(pair.session.receive(data)).toMatchObject([{ type: 'unreadable' }, { type: 'hangUp', code: CODES.broken }]);
    expect(pair.session.counters.unreadable).toBe(1);
  });

  it('takes an unreadable message of a feed for a gap of that feed', () => {
    const pair = new Pair();
    pair.session.subscribe(BOOK);
    pair.connect();
    pair.now += AGAIN_AFTER_MS;
    pair.say({ type: 'delta', channel: 'book', ...KRAKEN, epoch: 1 });
    expect(pair.types).toEqual(['snapshot', 'gap', 'snapshot']);
    expect(pair.messages[1]).toMatchObject({ reason: 'unreadable' });
  });

  it('sends many positions in several messages', () => {
    const pair = new Pair();
    const symbols = Array.from({ length: 200 }, (_, n) => `S${n}-USD`);
    pair.session.subscribe(new Request('trades', ['kraken'], symbols));
    pair.connect();
    for (const symbol of symbols) pair.say({ type: 'trades', channel: 'trades', venue: 'kraken', symbol, trades: [trade('1')] });
    pair.disconnect();
    pair.connect();
    const again = pair.received.filter((message) => 'since' in message);
    expect(again).toHaveLength(4);
    expect(again.flatMap((message) => message['since'])).toHaveLength(200);
    expect(Math.max(...again.map((message) => JSON.stringify(message).length))).toBeLessThan(16_384);
  });

  it('ignores what later versions add', () => {
    const pair = new Pair();
    pair.session.subscribe(BOOK);
    pair.connect();
    const before = pair.events.length;
    pair.say({ type: 'weather' }, { type: 'snapshot', channel: 'weather' }, { type: 'sunny', channel: 'book', ...KRAKEN });
    expect(pair.events).toHaveLength(before);
  });

  it('remembers what a shutdown says about coming back', () => {
    const pair = new Pair();
    pair.connect();
    pair.say({ type: 'shutdown', reconnect_after_ms: [1, 2] });
    expect(pair.session.closed(1012, '')[0]).toMatchObject({ code: 1012, lived: 1, spread: [1, 2] });
  });
});
