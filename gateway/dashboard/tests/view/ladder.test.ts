// @vitest-environment node
import { describe, expect, it } from 'vitest';

import type { Book } from '@alphapulse/client';

import { EMPTY_LADDER, LADDER_LEVELS, ladderOf } from '../../src/view/ladder.ts';
import { delta, emptyBook, snapshot } from '../messages.ts';

function book(): Book {
  const made = emptyBook();
  made.apply(
    snapshot({
      bids: [
        ['100.00', '0.1'],
        ['99.50', '0.2'],
      ],
      asks: [
        ['100.50', '0.7'],
        ['101.00', '0.50000000'],
      ],
    }),
  );
  return made;
}

describe('ladderOf', () => {
  it('sums the depth exactly and measures it against the deeper side', () => {
    const { bids, asks, bidShare } = ladderOf(book());
    expect(bids.map(({ total }) => total)).toEqual(['0.1', '0.3']);
    expect(asks.map(({ depth }) => depth)).toEqual([0.7 / 1.2, 1]);
    expect(bids[1]?.depth).toBeCloseTo(0.25);
    expect(bidShare).toBeCloseTo(0.2);
  });

  it('gives mid and spread exactly', () => {
    expect(ladderOf(book())).toMatchObject({
      midText: '100.250',
      spread: '0.50',
      spreadBasisPoints: '49.88',
      crossed: false,
      priceDecimals: 2,
      sizeDecimals: 1,
    });
  });

  it('remembers where the mid went', () => {
    const source = book();
    const first = ladderOf(source);
    expect(first.direction).toBe('none');
    source.apply(delta({ sequence: 1, bids: [['100.25', '1']] }));
    const second = ladderOf(source, first);
    expect(second.direction).toBe('up');
    expect(ladderOf(source, second).direction).toBe('up');
    source.apply(delta({ sequence: 2, bids: [['100.25', '0']] }));
    expect(ladderOf(source, second).direction).toBe('down');
  });

  it('says when the book is crossed', () => {
    const source = book();
    source.apply(delta({ sequence: 1, bids: [['100.50', '1']] }));
    expect(ladderOf(source).crossed).toBe(true);
  });

  it('shows twenty levels a side and no mid with one side empty', () => {
    const source = emptyBook();
    source.apply(snapshot({ bids: Array.from({ length: 30 }, (_, n) => [String(100 - n), '1']) }));
    const ladder = ladderOf(source);
    expect(ladder.bids).toHaveLength(LADDER_LEVELS);
    expect(ladder).toMatchObject({ mid: null, midText: null, spread: null, bidShare: null, bestAsk: null });
    expect(ladder.bestBid?.price).toBe('100');
  });

  it('is empty without a book', () => {
    expect(ladderOf(null)).toBe(EMPTY_LADDER);
  });
});
