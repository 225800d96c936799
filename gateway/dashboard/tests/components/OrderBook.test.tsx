import { cleanup, render, screen, within } from '@testing-library/react';
import { afterEach, describe, expect, it } from 'vitest';

import { OrderBook } from '../../src/components/OrderBook.tsx';
import { ladderOf } from '../../src/view/ladder.ts';
import { LivePicture } from '../../src/view/picture.ts';
import type { BookPicture } from '../../src/view/store.ts';
import { delta, emptyBook, snapshot, type BookMessage } from '../messages.ts';

afterEach(cleanup);

const BIDS = Array.from({ length: 20 }, (_, n): [string, string] => [`${61685 - n}.5`, `0.${n + 1}`]);
const ASKS = Array.from({ length: 20 }, (_, n): [string, string] => [`${61686 + n}.50`, '1.23456789']);

/** By the gateway's clock: the messages of these tests are seven seconds and a bit old. */
const NOW = snapshot().time + 7_400_000;

const veil = () => document.querySelector('.veil');

function show(messages: readonly BookMessage[], problem: string | null = null) {
  const book = emptyBook();
  for (const message of messages) book.apply(message);
  const picture = new LivePicture<BookPicture>(() => ({ ladder: ladderOf(messages.length ? book : null), problem }));
  render(<OrderBook venue="kraken" symbol="BTC-USD" picture={picture} serverTime={() => NOW} />);
}

const rows = (side: string) => within(screen.getByRole('table', { name: side })).getAllByRole('row');

describe('OrderBook', () => {
  it('shows twenty levels a side around the spread, digit for digit', () => {
    show([snapshot({ bids: BIDS, asks: ASKS })]);
    const [asks, bids] = [rows('Asks'), rows('Bids')];
    expect([asks.length, bids.length]).toEqual([20, 20]);
    expect(asks.at(-1)?.textContent).toBe('61,686.501.234567891.23456789');
    expect(bids[0]?.textContent).toBe('61,685.500.100000000.10000000');
    expect(bids[1]?.textContent).toBe('61,684.500.200000000.30000000');
    expect(screen.getByTitle('Mid price').textContent).toBe('61,686.00');
    expect(screen.getByTitle(/^Spread/).textContent).toBe('spread 1.00 0.16 bps');
  });

  it('draws depth against the deeper side', () => {
    show([snapshot({ bids: [['1', '1']], asks: [['2', '4']] })]);
    const bar = (side: string) => rows(side)[0]?.querySelector<HTMLElement>('.depth')?.style.transform;
    expect([bar('Bids'), bar('Asks')]).toEqual(['scaleX(0.2500)', 'scaleX(1.0000)']);
    expect(screen.getByRole('img', { name: 'Depth shown: 20 % bids, 80 % asks' })).toBeTruthy();
  });

  it.each([
    ['nothing yet', [], 'waiting for the book'],
    ['a gap', [snapshot({ bids: BIDS, asks: ASKS }), delta({ sequence: 7 })], 'not current: waiting for a snapshot'],
    ['an invalid book', [snapshot({ valid: false })], 'no valid book: waiting for the venue'],
    ['a stale book', [snapshot({ bids: BIDS }), snapshot({ valid: false, reason: 'stale' })], 'stale for 7 s'],
    ['a crossed book', [snapshot({ bids: [['2', '1']], asks: [['1', '1']] })], 'crossed'],
  ])('says so with %s', (_, messages, words) => {
    show(messages);
    expect(veil()?.textContent).toBe(words);
  });

  it('greys a stale book out and tells no mid, spread or depth of it', () => {
    show([snapshot({ bids: BIDS, asks: ASKS }), snapshot({ valid: false, reason: 'stale' })]);
    expect(document.querySelector('.ladder')?.className).toBe('ladder stale');
    expect([rows('Asks').length, rows('Bids').length]).toEqual([20, 20]);
    expect(screen.queryByTitle('Mid price')).toBeNull();
    expect(screen.queryByTitle(/^Spread/)).toBeNull();
    expect(screen.queryByRole('img', { name: /^Depth shown/ })).toBeNull();
  });

  it('shows why the subscription was refused', () => {
    show([], 'kraken has no BTC-USD');
    expect(veil()?.textContent).toBe('kraken has no BTC-USD');
  });

  it('says nothing when all is well', () => {
    show([snapshot({ bids: BIDS, asks: ASKS })]);
    expect(veil()).toBeNull();
  });
});
