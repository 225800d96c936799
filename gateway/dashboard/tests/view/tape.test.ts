// @vitest-environment node
import { expect, it } from 'vitest';

import { Tape } from '../../src/stream/tape.ts';
import { TAPE_ROWS, tapeOf } from '../../src/view/tape.ts';
import { trade } from '../messages.ts';

it('weighs each trade against the largest shown', () => {
  const tape = new Tape();
  tape.push([trade('1', { size: '4.00' }), trade('2', { size: '1' }), trade('3', { size: '0', price: '5.125' })]);
  const { prints, total, priceDecimals, sizeDecimals } = tapeOf(tape);
  expect(prints.map(({ weight }) => weight)).toEqual([0, 0.5, 1]);
  expect([total, priceDecimals, sizeDecimals]).toEqual([3, 3, 0]);
});

it('shows as many as the page has room for', () => {
  const tape = new Tape();
  tape.push(Array.from({ length: 500 }, (_, n) => trade(String(n))));
  expect(tapeOf(tape).prints).toHaveLength(TAPE_ROWS);
  expect(tapeOf(undefined).prints).toEqual([]);
});
