// @vitest-environment node
import { beforeEach, describe, expect, it } from 'vitest';

import { DEFAULT_HEARTBEAT_MS } from '../../src/stream/heartbeat.ts';
import type { ClientMessage, Subscription } from '../../src/stream/protocol.ts';
import {
  CONNECTION_TOPIC,
  OPPORTUNITIES_TOPIC,
  RESUBSCRIBE_EVERY_MS,
  RETRY_REFUSED_MS,
  Session,
} from '../../src/stream/session.ts';
import { deltaJson, hello, KRAKEN, opportunityJson, snapshotJson, trade } from '../messages.ts';

const BOOK: Subscription = { channel: 'book', ...KRAKEN };
const TRADES: Subscription = { channel: 'trades', ...KRAKEN };
const BOOK_TOPIC = 'book|kraken|BTC-USD';
const TRADES_TOPIC = 'trades|kraken|BTC-USD';

let session: Session;

beforeEach(() => {
  session = new Session();
});

function say(message: unknown, now = 0): void {
  session.received(JSON.stringify(message), now);
}

const operations = (messages: readonly ClientMessage[]) =>
  messages.map((message) => (message.op === 'ping' ? 'ping' : `${message.op} ${message.channel}`));

function lastId(): number {
  const message = session.messagesToSend().at(-1);
  if (!message) throw new Error('nothing to send');
  return message.id;
}

describe('subscriptions', () => {
  it('are sent when the connection opens, and again when it opens again', () => {
    session.want([BOOK, TRADES], 0);
    expect(session.messagesToSend()).toEqual([]);
    session.opened(0);
    expect(session.messagesToSend()).toMatchObject([
      { op: 'subscribe', channel: 'book', venue: 'kraken', symbol: 'BTC-USD' },
      { op: 'subscribe', channel: 'trades' },
    ]);
    session.closed();
    session.opened(50);
    expect(operations(session.messagesToSend())).toEqual(['subscribe book', 'subscribe trades']);
  });

  it('have an id of their own each', () => {
    session.want([BOOK, TRADES], 0);
    session.opened(0);
    const ids = session.messagesToSend().map(({ id }) => id);
    expect(new Set(ids).size).toBe(2);
  });

  it('follow what is wanted: only the difference is sent', () => {
    session.opened(0);
    session.want([BOOK, TRADES], 0);
    session.messagesToSend();
    session.want([TRADES, { channel: 'arbitrage', symbol: '*' }], 0);
    expect(operations(session.messagesToSend())).toEqual(['unsubscribe book', 'subscribe arbitrage']);
  });

  it('that were left leave nothing behind; what is still in flight is passed over', () => {
    session.opened(0);
    session.want([BOOK, TRADES], 0);
    say(snapshotJson({ bids: [['1', '1']] }));
    session.want([], 0);
    say(deltaJson({ sequence: 1 }));
    say({ type: 'trades', channel: 'trades', ...KRAKEN, trades: [trade('1')] });
    say({ type: 'stats', ...KRAKEN, deltas: 1, level_changes: 1, trades: 1, bid_levels: 1, ask_levels: 1 });
    expect(session.book(BOOK_TOPIC)).toBeUndefined();
    expect(session.tape(TRADES_TOPIC)).toBeUndefined();
    expect(session.stats('stats|kraken|BTC-USD')).toBeUndefined();
  });

  it('show the refusal and are tried again', () => {
    session.opened(0);
    session.want([BOOK], 0);
    const id = lastId();
    say({ type: 'error', id, code: 'unknown_instrument', message: 'kraken has no BTC-USD' });
    expect(session.standing(BOOK_TOPIC)).toMatchObject({ state: 'refused', problem: 'kraken has no BTC-USD' });
    expect(session.takeChanged()).toContain(BOOK_TOPIC);
    session.tick(RETRY_REFUSED_MS - 1);
    expect(operations(session.messagesToSend())).not.toContain('subscribe book');
    session.tick(RETRY_REFUSED_MS);
    const retry = session.messagesToSend().find(({ op }) => op === 'subscribe');
    say({ type: 'subscribed', id: retry?.id });
    expect(session.standing(BOOK_TOPIC)).toMatchObject({ state: 'confirmed', problem: null });
  });
});

describe('books', () => {
  beforeEach(() => {
    session.opened(0);
    session.want([BOOK], 0);
    session.messagesToSend();
    say(snapshotJson({ bids: [['100', '1']] }));
  });

  it('follow snapshot and deltas', () => {
    say(deltaJson({ sequence: 1, bids: [['101', '2']] }));
    expect(session.book(BOOK_TOPIC)?.bids.map(({ price }) => price)).toEqual(['101', '100']);
    expect(session.takeChanged()).toContain(BOOK_TOPIC);
    expect(session.takeChanged()).toEqual([]);
  });

  it('are subscribed anew after a gap, and are current again with the snapshot', () => {
    say(deltaJson({ sequence: 2 }), RESUBSCRIBE_EVERY_MS);
    expect(session.counters.gaps).toBe(1);
    expect(operations(session.messagesToSend())).toEqual(['unsubscribe book', 'subscribe book']);
    say(deltaJson({ sequence: 3 }), RESUBSCRIBE_EVERY_MS);
    expect([session.counters.gaps, session.messagesToSend().length]).toEqual([1, 0]);
    say(snapshotJson({ bids: [['99', '1']] }), RESUBSCRIBE_EVERY_MS);
    say(deltaJson({ sequence: 1, bids: [['98', '1']] }), RESUBSCRIBE_EVERY_MS);
    expect(session.book(BOOK_TOPIC)).toMatchObject({ status: 'valid' });
    expect(session.book(BOOK_TOPIC)?.bids).toHaveLength(2);
  });

  it('with one gap after another do not storm the server', () => {
    for (let n = 0; n < 50; n += 1) {
      say(snapshotJson({ sequence: 0 }), n);
      say(deltaJson({ sequence: 5 }), n);
      session.tick(n);
    }
    expect(session.counters.gaps).toBe(50);
    expect(session.messagesToSend()).toEqual([]);
    session.tick(RESUBSCRIBE_EVERY_MS);
    expect(operations(session.messagesToSend())).toEqual(['unsubscribe book', 'subscribe book']);
  });

  it('whose new snapshot came before the retry was due are left alone', () => {
    say(deltaJson({ sequence: 5 }), 10);
    say(snapshotJson({ sequence: 7 }), 20);
    session.tick(RESUBSCRIBE_EVERY_MS);
    expect(session.messagesToSend()).toEqual([]);
  });

  it('that never come are asked for again', () => {
    session.want([{ ...BOOK, venue: 'coinbase' }], 100);
    session.messagesToSend();
    session.tick(100 + DEFAULT_HEARTBEAT_MS - 1);
    expect(operations(session.messagesToSend())).not.toContain('subscribe book');
    session.tick(100 + DEFAULT_HEARTBEAT_MS);
    expect(operations(session.messagesToSend())).toContain('subscribe book');
  });

  it('become stale by the gateway’s clock though it says nothing any more', () => {
    const time = 1_723_100_000_000_000;
    // The browser's clock is decades off; the greeting took 100 ms, so it is of 50 ms ago, give or take.
    say(hello(time - 60_000_000), 100);
    say(snapshotJson({ time, bids: [['100', '1']] }), 60_100);
    session.tick(65_050);
    expect(session.book(BOOK_TOPIC)?.status).toBe('valid');
    session.takeChanged();
    session.tick(65_051);
    expect(session.book(BOOK_TOPIC)?.status).toBe('stale');
    expect(session.takeChanged()).toEqual([BOOK_TOPIC]);
    session.tick(65_200);
    expect(session.takeChanged()).toEqual([]);
    say(deltaJson({ sequence: 1, time: time + 5_100_000, bids: [['101', '1']] }), 65_250);
    expect(session.book(BOOK_TOPIC)).toMatchObject({ status: 'valid', sequence: 1 });
  });

  it('that come late are stale at once', () => {
    const time = 1_723_100_000_000_000;
    say(hello(time), 0);
    say(snapshotJson({ time: time - 6_000_000, bids: [['100', '1']] }), 0);
    expect(session.book(BOOK_TOPIC)?.status).toBe('stale');
  });

  it('are not current when the connection is gone', () => {
    session.closed();
    expect(session.book(BOOK_TOPIC)).toMatchObject({ status: 'awaiting' });
    expect(session.takeChanged()).toEqual(expect.arrayContaining([BOOK_TOPIC, CONNECTION_TOPIC]));
  });
});

describe('trades, statistics, opportunities', () => {
  it('go where they belong', () => {
    session.want([TRADES, { channel: 'stats', ...KRAKEN }, { channel: 'arbitrage', symbol: '*' }], 0);
    session.opened(0);
    say({ type: 'snapshot', channel: 'trades', ...KRAKEN, trades: [trade('1'), trade('2')] });
    say({ type: 'trades', channel: 'trades', ...KRAKEN, trades: [trade('2'), trade('3')] });
    say({ type: 'stats', ...KRAKEN, deltas: 8, level_changes: 9, trades: 1, bid_levels: 1, ask_levels: 1 });
    say({ type: 'snapshot', channel: 'arbitrage', symbol: '*', opportunities: [opportunityJson('a')] });
    say({ type: 'opportunity', ...opportunityJson('b') });
    expect(session.tape(TRADES_TOPIC)?.newest(9).map(({ id }) => id)).toEqual(['3', '2', '1']);
    expect(session.stats('stats|kraken|BTC-USD')).toMatchObject({ deltas: 8 });
    expect(session.opportunities.open.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(session.takeChanged()).toEqual(expect.arrayContaining([TRADES_TOPIC, OPPORTUNITIES_TOPIC]));
  });
});

describe('the connection', () => {
  it('is stale after two heartbeats without a message and dead after four', () => {
    session.opened(0);
    say(hello(0, { heartbeat_ms: 1000 }), 100);
    expect(session.heartbeat.everyMs).toBe(1000);
    expect([2099, 2100, 4099, 4100].map((now) => session.tick(now))).toEqual(['live', 'stale', 'stale', 'dead']);
    say({ type: 'heartbeat', time: 1 }, 4200);
    expect(session.tick(4300)).toBe('live');
  });

  it('pings once a heartbeat and measures the round trip', () => {
    session.opened(0);
    session.tick(DEFAULT_HEARTBEAT_MS - 1);
    expect(session.messagesToSend()).toEqual([]);
    session.tick(DEFAULT_HEARTBEAT_MS);
    const [ping, ...rest] = session.messagesToSend();
    expect([ping?.op, rest.length]).toEqual(['ping', 0]);
    say({ type: 'pong', id: 999_999, time: 0 }, DEFAULT_HEARTBEAT_MS + 5);
    expect(session.heartbeat.roundTripMs).toBeNull();
    say({ type: 'pong', id: ping?.id, time: 0 }, DEFAULT_HEARTBEAT_MS + 12);
    expect(session.heartbeat.roundTripMs).toBe(12);
  });

  it('counts what it cannot read and goes on', () => {
    session.opened(0);
    session.received('{"type":"delta","channel":"book"}\nnonsense\n{"type":"candle"}', 0);
    expect(session.counters).toMatchObject({ messages: 3, unreadable: 2 });
    expect(session.lastProblem).toContain('JSON');
  });

  it('says when the gateway speaks another version or complains about nothing in particular', () => {
    session.opened(0);
    say(hello(0, { version: 2 }));
    expect(session.lastProblem).toContain('protocol version 2');
    say({ type: 'error', code: 'bad_request', message: 'not JSON' });
    expect(session.lastProblem).toBe('not JSON');
  });
});
