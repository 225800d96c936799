// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { levelsText, Market } from '../../dev/market.ts';
import { Book } from '../../src/stream/book.ts';
import { compare, parseDecimal, ZERO } from '../../src/stream/decimal.ts';
import type { Level } from '../../src/stream/protocol.ts';
import { delta, snapshot } from '../messages.ts';

const texts = (levels: readonly Level[]) => levels.map(({ price, size }) => [price, size]);

function bookWith(): Book {
  const book = new Book();
  book.apply(
    snapshot({
      sequence: 10,
      bids: [
        ['100.5', '1'],
        ['99', '2'],
      ],
      asks: [
        ['101', '3'],
        ['102.25', '4'],
      ],
    }),
  );
  return book;
}

describe('Book', () => {
  it('is awaiting before its first snapshot and ignores deltas until then', () => {
    const book = new Book();
    expect(book.apply(delta({ sequence: 1, bids: [['1', '1']] }))).toBe('ignored');
    expect([book.status, book.bids.length, book.time]).toEqual(['awaiting', 0, 0]);
  });

  it('keeps both sides best first whatever the order they come in', () => {
    const book = bookWith();
    book.apply(
      delta({
        sequence: 11,
        bids: [
          ['100', '5'],
          ['100.75', '6'],
        ],
        asks: [['100.9', '7']],
      }),
    );
    expect(texts(book.bids)).toEqual([
      ['100.75', '6'],
      ['100.5', '1'],
      ['100', '5'],
      ['99', '2'],
    ]);
    expect(texts(book.asks)).toEqual([
      ['100.9', '7'],
      ['101', '3'],
      ['102.25', '4'],
    ]);
  });

  it('replaces and deletes levels by the value of the price, not its text', () => {
    const book = bookWith();
    book.apply(
      delta({
        sequence: 11,
        bids: [
          ['100.50', '9'],
          ['99.00', '0.000'],
        ],
        asks: [['500', '0']],
      }),
    );
    expect(texts(book.bids)).toEqual([['100.50', '9']]);
    expect(book.asks).toHaveLength(2);
  });

  it('takes a delta whose sequence jumps, as long as it builds on its own', () => {
    const book = bookWith();
    expect(book.apply(delta({ previousSequence: 10, sequence: 345, bids: [['100.5', '7']] }))).toBe('applied');
    expect(book.apply(delta({ previousSequence: 345, sequence: 2402, bids: [['99', '0']] }))).toBe('applied');
    expect([book.sequence, texts(book.bids)]).toEqual([2402, [['100.5', '7']]]);
  });

  it('is confirmed by a delta without levels, of the same sequence', () => {
    const book = bookWith();
    expect(book.apply(delta({ previousSequence: 10, sequence: 10, time: 1_723_100_001_000_000 }))).toBe('applied');
    expect([book.sequence, book.time, book.bids.length]).toEqual([10, 1_723_100_001_000_000, 2]);
    expect(book.apply(delta({ previousSequence: 10, sequence: 12 }))).toBe('applied');
  });

  it.each([
    ['a message left out', { previousSequence: 11, sequence: 12 }],
    ['an older book', { previousSequence: 9, sequence: 10 }],
    ['another epoch', { previousSequence: 10, sequence: 11, epoch: '5' }],
  ])('notices %s, and waits for a snapshot', (_, parts) => {
    const book = bookWith();
    expect(book.apply(delta({ ...parts, bids: [['1', '1']] }))).toBe('gap');
    expect(book.status).toBe('awaiting');
    expect(book.bids).toHaveLength(2);
    expect(book.apply(delta({ sequence: 13 }))).toBe('ignored');
    expect(book.apply(snapshot({ epoch: '5', sequence: 3, bids: [['1', '1']] }))).toBe('applied');
    expect([book.status, book.sequence, texts(book.bids)]).toEqual(['valid', 3, [['1', '1']]]);
    expect(book.apply(delta({ epoch: '5', sequence: 4 }))).toBe('applied');
  });

  it('empties when the server has no valid book, and comes back through a snapshot only', () => {
    const book = bookWith();
    expect(book.apply(snapshot({ sequence: 11, valid: false }))).toBe('applied');
    expect([book.status, book.bids.length, book.asks.length]).toEqual(['invalid', 0, 0]);
    expect(book.apply(delta({ sequence: 12, bids: [['100', '1']] }))).toBe('gap');
    expect(book.bids).toHaveLength(0);
    expect(book.apply(snapshot({ sequence: 20, bids: [['100', '1']] }))).toBe('applied');
    expect(book.status).toBe('valid');
  });

  it('keeps its last levels in sight when it is stale, and comes back through a snapshot only', () => {
    const book = bookWith();
    expect(book.apply(snapshot({ sequence: 10, valid: false, reason: 'stale' }))).toBe('applied');
    expect([book.status, book.bids.length, book.asks.length]).toEqual(['stale', 2, 2]);
    expect(book.apply(delta({ sequence: 11 }))).toBe('gap');
    expect(book.apply(snapshot({ sequence: 20, bids: [['100', '1']] }))).toBe('applied');
    expect([book.status, texts(book.bids)]).toEqual(['valid', [['100', '1']]]);
  });

  it('is stale by the page’s own watch when its time is too long ago, and only then', () => {
    const book = bookWith();
    const { time } = book;
    expect([book.judge(time + 5_000_000, 5_000_000), book.status]).toEqual([false, 'valid']);
    expect([book.judge(time + 5_000_001, 5_000_000), book.status]).toEqual([true, 'stale']);
    expect(book.judge(time + 6_000_000, 5_000_000)).toBe(false);
    book.apply(delta({ sequence: 11, time: time + 6_000_000, bids: [['100.5', '9']] }));
    expect([book.judge(time + 6_000_000, 5_000_000), book.status]).toEqual([true, 'valid']);
    expect(texts(book.bids)[0]).toEqual(['100.5', '9']);
    book.distrust();
    expect([book.judge(time + 60_000_000, 5_000_000), book.status]).toEqual([false, 'awaiting']);
  });

  it('keeps its levels but not its standing when it is distrusted', () => {
    const book = bookWith();
    book.distrust();
    expect([book.status, book.bids.length]).toEqual(['awaiting', 2]);
  });

  it('equals a market book after thousands of changes', () => {
    const market = new Market(3);
    const source = market.book('kraken', 'BTC-USD');
    if (!source) throw new Error('the market has no kraken BTC-USD');
    const book = new Book();
    const sides = () => ({ bids: levelsText(source.bids, 2), asks: levelsText(source.asks, 2) });
    book.apply(snapshot(sides()));
    for (let sequence = 1; sequence <= 3000; sequence += 1) {
      market.drift();
      expect(book.apply(delta({ sequence, ...market.move(source) }))).toBe('applied');
      if (sequence % 100 !== 0) continue;
      // The market writes its levels best first.
      expect(texts(book.bids)).toEqual(sides().bids);
      expect(texts(book.asks)).toEqual(sides().asks);
    }
    const prices = book.bids.map(({ price }) => parseDecimal(price) ?? ZERO);
    expect(prices.every((price, n) => n === 0 || compare(price, prices[n - 1] ?? ZERO) < 0)).toBe(true);
  });
});
