// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { EMPTY_LADDER, ladderOf, type Ladder } from '../../src/view/ladder.ts';
import { quotesOf } from '../../src/view/quotes.ts';
import { emptyBook, snapshot } from '../messages.ts';

function venue(bid: string, ask: string, valid = true): Ladder {
  const book = emptyBook();
  book.apply(snapshot({ bids: [[bid, '1']], asks: [[ask, '2']] }));
  if (!valid) book.doubt('sequence');
  return ladderOf(book);
}

describe('quotesOf', () => {
  it('marks the best of all venues, every one of equals', () => {
    const { rows, consolidated } = quotesOf([
      ['a', venue('100', '101')],
      ['b', venue('100.0', '100.5')],
      ['c', venue('99', '102')],
    ]);
    expect(rows.map(({ isBestBid, isBestAsk }) => [isBestBid, isBestAsk])).toEqual([
      [true, false],
      [true, true],
      [false, false],
    ]);
    expect(consolidated).toMatchObject({ bidVenue: 'a', askVenue: 'b', bid: '100', ask: '100.5', spread: '0.5', crossed: false });
  });

  it('shows a negative spread when venues cross', () => {
    const { consolidated } = quotesOf([
      ['a', venue('100', '101')],
      ['b', venue('102', '103')],
    ]);
    expect(consolidated).toMatchObject({ crossed: true, spread: '-1', spreadBasisPoints: '-98.52' });
  });

  it('leaves out books that are not current', () => {
    const { rows, consolidated } = quotesOf([
      ['a', venue('200', '201', false)],
      ['b', venue('100', '101')],
      ['c', EMPTY_LADDER],
    ]);
    expect(rows[0]).toMatchObject({ isBestBid: false, isBestAsk: false });
    expect(consolidated).toMatchObject({ bidVenue: 'b', askVenue: 'b' });
  });

  it('has no consolidated quote without a bid and an ask', () => {
    expect(quotesOf([['a', EMPTY_LADDER]])).toMatchObject({ consolidated: null, priceDecimals: 0 });
  });
});
