// @vitest-environment node
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Wanted } from '../../src/stream/market.ts';
import { Store } from '../../src/view/store.ts';
import { manualFrames, type ManualFrames } from '../frames.ts';
import { deltaJson, KRAKEN, opportunity, opportunityJson, snapshotJson, statsJson, tradeJson } from '../messages.ts';
import { socketScript } from '../scripted-socket.ts';

const WANTED: Wanted[] = [
  { channel: 'book', ...KRAKEN },
  { channel: 'book', venue: 'coinbase', symbol: 'BTC-USD' },
  { channel: 'trades', ...KRAKEN },
  { channel: 'stats', ...KRAKEN },
  { channel: 'arbitrage', symbol: '*' },
];

let frames: ManualFrames;
let script: ReturnType<typeof socketScript>;
let store: Store;
let time = 0;

const say = (message: unknown) => {
  script.last().say(message);
};
const nextFrame = () => {
  time += 100;
  frames.frame(time);
};

beforeEach(() => {
  vi.useFakeTimers();
  frames = manualFrames();
  script = socketScript();
  store = new Store({ url: 'ws://test/', openSocket: script.open, frames });
  store.start();
  script.last().open();
  store.want(WANTED);
});

afterEach(() => {
  store.stop();
  vi.useRealTimers();
});

describe('Store', () => {
  it('renders once per frame however many messages come', () => {
    const book = store.book('kraken', 'BTC-USD');
    const quotes = store.quotes(['coinbase', 'kraken'], 'BTC-USD');
    let renders = 0;
    book.subscribe(() => (renders += 1));
    say(snapshotJson({ bids: [['100', '1']], asks: [['101', '1']] }));
    for (let sequence = 1; sequence <= 1000; sequence += 1) {
      say(deltaJson({ sequence, bids: [[`100.${String(sequence).padStart(4, '0')}`, '1']] }));
    }
    expect([renders, book.read().ladder.bids.length]).toEqual([0, 0]);
    nextFrame();
    expect(renders).toBe(1);
    expect(book.read().ladder.bestBid?.price).toBe('100.1000');
    expect(quotes.read().consolidated).toMatchObject({ bid: '100.1000', bidVenue: 'kraken' });
  });

  it('refreshes only what changed, and leaves a picture as it is between changes', () => {
    const book = store.book('kraken', 'BTC-USD');
    const other = store.book('coinbase', 'BTC-USD');
    nextFrame();
    const before = other.read();
    say(snapshotJson({ bids: [['100', '1']] }));
    nextFrame();
    expect(other.read()).toBe(before);
    expect(book.read()).toBe(book.read());
    expect(store.book('kraken', 'BTC-USD')).toBe(book);
    expect(store.quotes(['a'], 'X')).toBe(store.quotes(['a'], 'X'));
  });

  it('shows trades, statistics and opportunities', () => {
    const tape = store.tape('kraken', 'BTC-USD');
    const stats = store.stats('kraken', 'BTC-USD');
    say({ type: 'snapshot', channel: 'trades', ...KRAKEN, trades: [tradeJson('1')] });
    say(statsJson({ deltas: 7 }));
    say({ type: 'snapshot', channel: 'arbitrage', symbol: '*', opportunities: [] });
    say({ type: 'opportunity', ...opportunityJson('a') });
    expect(store.opportunities.read().open).toBeNull();
    nextFrame();
    expect(tape.read().prints).toHaveLength(1);
    expect(stats.read()).toMatchObject({ deltas: 7 });
    expect(store.opportunities.read()).toMatchObject({ open: [{ id: 'a' }], closedTotal: 0 });
  });

  it('takes the closed opportunities of before, not the open ones', () => {
    store.addOpportunities([opportunity('a', { state: 'closed' }), opportunity('b')]);
    expect(store.opportunities.read()).toMatchObject({ open: null, closed: [{ id: 'a' }], closedTotal: 1 });
  });

  it('shows a refused subscription on its panel', () => {
    const book = store.book('kraken', 'BTC-USD');
    say({ type: 'error', id: script.last().idOf('book', 'kraken'), code: 'unknown_instrument', message: 'not here' });
    nextFrame();
    expect(book.read().problem).toBe('not here');
  });

  it('drops pictures of what is not wanted any more', () => {
    const book = store.book('kraken', 'BTC-USD');
    const quotes = store.quotes(['kraken'], 'BTC-USD');
    store.want([]);
    expect(store.book('kraken', 'BTC-USD')).not.toBe(book);
    expect(store.quotes(['kraken'], 'BTC-USD')).not.toBe(quotes);
  });

  it('shows the connection, its rate, and comes back at once when told to', () => {
    nextFrame();
    expect(store.connection.read().state.phase).toBe('live');
    vi.advanceTimersByTime(2000);
    nextFrame();
    for (let n = 0; n < 500; n += 1) say({ type: 'heartbeat', time: n });
    vi.advanceTimersByTime(2000);
    nextFrame();
    expect(store.connection.read().messagesPerSecond).toBe(250);
    script.last().events.closed(3500, 'go away');
    nextFrame();
    expect(store.connection.read().state).toEqual({ phase: 'ended', reason: 'go away' });
    store.reconnectNow();
    expect(script.sockets).toHaveLength(2);
  });

  it('says what broke the protocol', () => {
    script.last().events.received('rubbish');
    nextFrame();
    expect(store.connection.read()).toMatchObject({ unreadable: 1, problem: expect.stringContaining('rubbish') as string });
  });
});
