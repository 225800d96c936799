// @vitest-environment node
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Market, OPPORTUNITIES_TOPIC, RETRY_REFUSED_MS, topicOf, type Wanted } from '../../src/stream/market.ts';
import { statusOf } from '../../src/stream/status.ts';
import { deltaJson, KRAKEN, opportunityJson, snapshotJson, statsJson, tradeJson } from '../messages.ts';
import { socketScript } from '../scripted-socket.ts';

const BOOK: Wanted = { channel: 'book', ...KRAKEN };
const BOOK_TOPIC = topicOf(BOOK);
const TRADES: Wanted = { channel: 'trades', ...KRAKEN };
const ARBITRAGE: Wanted = { channel: 'arbitrage', symbol: '*' };

let script: ReturnType<typeof socketScript>;
let market: Market;
let activity = 0;

const say = (message: unknown) => {
  script.last().say(message);
};
const status = () => {
  const book = market.book(BOOK_TOPIC);
  return book && statusOf(book);
};

beforeEach(() => {
  vi.useFakeTimers();
  script = socketScript();
  activity = 0;
  market = new Market({ url: 'ws://127.0.0.1/', openSocket: script.open, random: () => 0, onActivity: () => (activity += 1) });
});

afterEach(() => {
  market.stop();
  vi.useRealTimers();
});

describe('Market', () => {
  it('subscribes to what is wanted, and leaves and forgets what is not wanted any more', () => {
    market.want([BOOK, TRADES]);
    market.start();
    script.last().open();
    say({ type: 'trades', channel: 'trades', ...KRAKEN, trades: [tradeJson('1')] });
    expect(market.tape(topicOf(TRADES))?.total).toBe(1);
    market.want([BOOK, ARBITRAGE]);
    expect(script.last().sent.map(({ op, channel }) => `${op} ${channel ?? ''}`)).toEqual([
      'subscribe book',
      'subscribe trades',
      'unsubscribe trades',
      'subscribe arbitrage',
    ]);
    expect(market.tape(topicOf(TRADES))).toBeUndefined();
    say(statsJson());
    expect(market.stats(topicOf({ channel: 'stats', ...KRAKEN }))).toBeUndefined();
  });

  it('has a book that says what it is', async () => {
    market.want([BOOK]);
    market.start();
    script.last().open(1_723_100_000_000_000, 5_000);
    expect(status()).toBe('awaiting');
    say(snapshotJson({ bids: [['100', '1']] }));
    expect(status()).toBe('valid');
    market.takeChanged();
    await vi.advanceTimersByTimeAsync(5_500);
    expect(status()).toBe('stale');
    expect(market.takeChanged()).toContain(BOOK_TOPIC);
    say(snapshotJson({ valid: false }));
    expect(status()).toBe('invalid');
    say(snapshotJson({ sequence: 5 }));
    say(deltaJson({ sequence: 9 }));
    expect([status(), market.counters.gaps]).toEqual(['awaiting', 1]);
  });

  it('knows the open opportunities from a snapshot until the connection is gone', () => {
    market.want([ARBITRAGE]);
    market.start();
    script.last().open();
    expect(market.opportunitiesCurrent).toBe(false);
    say({ type: 'snapshot', channel: 'arbitrage', symbol: 'BTC-USD', opportunities: [opportunityJson('a')] });
    say({ type: 'snapshot', channel: 'arbitrage', symbol: 'ETH-USD', opportunities: [] });
    expect([market.opportunitiesCurrent, market.opportunities.open.map(({ id }) => id)]).toEqual([true, ['a']]);
    market.takeChanged();
    script.last().events.closed(1006, '');
    expect(market.opportunitiesCurrent).toBe(false);
    expect(market.takeChanged()).toContain(OPPORTUNITIES_TOPIC);
    expect(activity).toBeGreaterThan(0);
  });

  it('tries again what was refused', async () => {
    market.want([BOOK]);
    market.start();
    script.last().open();
    say({ type: 'error', id: script.last().idOf('book'), code: 'unknown_instrument', message: 'not here' });
    expect(market.problem(BOOK_TOPIC)).toBe('not here');
    await vi.advanceTimersByTimeAsync(RETRY_REFUSED_MS + 500);
    const again = script.last().idOf('book');
    say({ type: 'subscribed', id: again, channel: 'book', feeds: [{ ...KRAKEN, recovered: null }] });
    expect(market.problem(BOOK_TOPIC)).toBeNull();
  });

  it('subscribes anew after it was stopped, and after the gateway said not to come back', () => {
    market.want([BOOK]);
    market.start();
    market.stop();
    market.want([BOOK, TRADES]);
    market.start();
    script.last().open();
    expect(script.last().sent).toHaveLength(2);
    script.last().events.closed(3500, 'go away');
    expect(market.state).toEqual({ phase: 'ended', reason: 'go away' });
    market.want([BOOK]);
    market.retryNow();
    script.last().open();
    expect(script.last().sent).toMatchObject([{ op: 'subscribe', channel: 'book' }]);
  });
});
