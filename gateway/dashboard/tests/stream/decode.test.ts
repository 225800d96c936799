// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { decode } from '../../src/stream/decode.ts';
import { topicOf } from '../../src/stream/protocol.ts';
import { opportunityJson } from '../messages.ts';

const BOOK = {
  type: 'snapshot',
  channel: 'book',
  venue: 'kraken',
  symbol: 'BTC-USD',
  epoch: '1723100000000000001',
  sequence: 4,
  time: 1_723_100_000_000_000,
  valid: true,
  reason: null,
  bids: [['61685.99', '0.5']],
  asks: [['61686.00', '1.25000000']],
};

function one(message: unknown) {
  const decoded = decode(JSON.stringify(message));
  expect(decoded).toHaveLength(1);
  return decoded[0];
}

describe('decode', () => {
  it('reads a book with its decimal text untouched, each level exact beside it', () => {
    const bid = { price: '61685.99', exactPrice: { mantissa: 6_168_599n, scale: 2 } };
    expect(one(BOOK)).toEqual({
      ...BOOK,
      bids: [{ ...bid, size: '0.5', exactSize: { mantissa: 5n, scale: 1 } }],
      asks: [
        {
          price: '61686.00',
          size: '1.25000000',
          exactPrice: { mantissa: 6_168_600n, scale: 2 },
          exactSize: { mantissa: 125_000_000n, scale: 8 },
        },
      ],
    });
    expect(one({ ...BOOK, type: 'delta', previous_sequence: 2, bids: [['61685.99', '0']] })).toMatchObject({
      type: 'delta',
      previousSequence: 2,
      sequence: 4,
      bids: [{ ...bid, size: '0', exactSize: { mantissa: 0n, scale: 0 } }],
    });
  });

  it.each([
    ['stale', 'stale'],
    ['no_book', 'no_book'],
    ['invalid', 'invalid'],
    ['one of a later version', 'invalid'],
    [undefined, 'invalid'],
  ])('reads why a book is not valid: %s', (reason, read) => {
    expect(one({ ...BOOK, valid: false, reason })).toMatchObject({ valid: false, reason: read });
  });

  it.each([
    [{ ...BOOK, type: 'delta' }, 'previous_sequence: expected a number'],
    [{ ...BOOK, bids: [[61685.99, '0.5']] }, 'bids price: expected decimal text, got 61685.99'],
    [{ ...BOOK, asks: [['1', '1e-8']] }, 'asks size: expected decimal text, got "1e-8"'],
    [{ ...BOOK, asks: {} }, 'asks: expected a list'],
    [{ ...BOOK, sequence: '4' }, 'sequence: expected a number, got "4"'],
    [{ ...BOOK, venue: undefined }, 'venue: expected text, got undefined'],
    [{ type: 7 }, 'type: expected text, got 7'],
    ['hello', 'message: expected an object'],
    [{ type: 'opportunity', ...opportunityJson('a', { state: 'BROKEN' }) }, 'state: expected opened, changed or closed'],
  ])('names what is wrong with %j', (message, reason) => {
    expect(one(message)).toMatchObject({ type: 'unreadable', reason: expect.stringContaining(reason) as string });
  });

  it('reports text that is no JSON instead of throwing', () => {
    expect(decode('{"type":')).toMatchObject([{ type: 'unreadable' }]);
  });

  it('reads several messages from one frame, as a list or by lines; a bad one does not spoil the others', () => {
    const list = decode(JSON.stringify([{ type: 'pong', id: 1, time: 5 }, 3, { type: 'pong', id: 2, time: 6 }]));
    expect(list.map(({ type }) => type)).toEqual(['pong', 'unreadable', 'pong']);
    const lines = decode('{"type":"pong","id":1,"time":5}\n{oops\n\n{"type":"heartbeat","time":5}\n');
    expect(lines.map(({ type }) => type)).toEqual(['pong', 'unreadable', 'other']);
  });

  it('reads trades; the side in either case, an unknown one as unknown', () => {
    const trades = ['buy', 'SELL', 'UNKNOWN'].map((side, id) => ({ id, side, price: '1', size: '2.50', time: 9 }));
    expect(one({ type: 'trades', channel: 'trades', venue: 'v', symbol: 's', trades })).toMatchObject({
      trades: [
        { id: '0', side: 'buy', price: '1', size: '2.50', time: 9 },
        { id: '1', side: 'sell' },
        { id: '2', side: 'unknown' },
      ],
    });
  });

  it('reads opportunities, alone and in a snapshot; nanoseconds as text become microseconds', () => {
    const wire = opportunityJson('x', { state: 'CLOSED', opened_time: '1723100000123456789', close_reason: 'prices' });
    expect(one({ type: 'opportunity', ...wire })).toMatchObject({
      opportunity: { id: 'x', state: 'closed', openedTime: 1_723_100_000_123_456, closeReason: 'prices' },
    });
    const list = one({ type: 'snapshot', channel: 'arbitrage', symbol: '*', opportunities: [opportunityJson('y')] });
    expect(list).toMatchObject({ channel: 'arbitrage', opportunities: [{ id: 'y', netProfit: '12.3456' }] });
  });

  it('reads statistics; no latency where the venue gives no times', () => {
    const stats = { type: 'stats', venue: 'v', symbol: 's', deltas: 5, level_changes: 9, trades: 1, bid_levels: 3, ask_levels: 4 };
    expect(one({ ...stats, latency_mean: null })).toMatchObject({ levelChanges: 9, latencyMean: null });
    expect(one({ ...stats, latency_mean: 2_000_000 })).toMatchObject({ latencyMean: 2_000_000 });
  });

  it('reads answers and greetings', () => {
    expect(one({ type: 'hello', version: 1, heartbeat_ms: 5000, max_book_age_ms: 3000, time: 9 })).toEqual({
      type: 'hello',
      version: 1,
      heartbeatMs: 5000,
      maxBookAgeMs: 3000,
      time: 9,
    });
    expect(one({ type: 'error', code: 'bad', message: 'no' })).toEqual({ type: 'error', id: null, code: 'bad', message: 'no' });
    expect(one({ type: 'subscribed', id: 7 })).toEqual({ type: 'subscribed', id: 7 });
  });

  it('passes over what it does not know', () => {
    expect(one({ type: 'candle', open: '1' })).toEqual({ type: 'other', name: 'candle' });
    expect(one({ type: 'snapshot', channel: 'candles' })).toMatchObject({ type: 'other' });
    expect(one({ type: 'delta', channel: 'depth' })).toMatchObject({ type: 'other' });
  });
});

it('names a topic by channel, venue and symbol', () => {
  expect(topicOf({ channel: 'book', venue: 'kraken', symbol: 'BTC-USD' })).toBe('book|kraken|BTC-USD');
  expect(topicOf({ channel: 'arbitrage', symbol: '*' })).toBe('arbitrage||*');
});
