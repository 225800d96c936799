import { act, renderHook } from '@testing-library/react';
import { beforeEach, describe, expect, it } from 'vitest';

import { choose, hashOf, parseHash, symbolsOf, useSelection, venuesOf } from '../../src/view/selection.ts';

const LISTED = [
  { venue: 'kraken', symbol: 'BTC-USD', valid: false },
  { venue: 'coinbase', symbol: 'BTC-USD', valid: true },
  { venue: 'kraken', symbol: 'ADA-USD', valid: true },
];

beforeEach(() => {
  window.location.hash = '';
});

describe('the address', () => {
  it('names the instrument', () => {
    expect(parseHash(hashOf({ venue: 'kraken', symbol: 'BTC/USD' }))).toEqual({ venue: 'kraken', symbol: 'BTC/USD' });
    expect(['', '#kraken', '#/BTC', '#%/x', '#a/%E0%A4%A'].map(parseHash)).toEqual([null, null, null, null, null]);
  });
});

describe('choose', () => {
  it('takes the wish if it is listed', () => {
    expect(choose({ venue: 'kraken', symbol: 'ADA-USD' }, LISTED)).toEqual({ venue: 'kraken', symbol: 'ADA-USD' });
  });

  it('else the symbol elsewhere, else the most listed symbol with a valid book', () => {
    expect(choose({ venue: 'coinbase', symbol: 'ADA-USD' }, LISTED)).toEqual({ venue: 'kraken', symbol: 'ADA-USD' });
    expect(choose({ venue: 'x', symbol: 'DOGE-USD' }, LISTED)).toEqual({ venue: 'coinbase', symbol: 'BTC-USD' });
    expect(choose(null, LISTED)).toEqual({ venue: 'coinbase', symbol: 'BTC-USD' });
    expect(choose(null, [])).toBeNull();
  });

  it('takes an instrument without a valid book when there is no other', () => {
    expect(choose(null, LISTED.slice(0, 1))).toEqual({ venue: 'kraken', symbol: 'BTC-USD' });
  });
});

it('lists symbols by how many venues have them, and venues by name', () => {
  expect(symbolsOf(LISTED)).toEqual(['BTC-USD', 'ADA-USD']);
  expect(venuesOf(LISTED, 'BTC-USD')).toEqual(['coinbase', 'kraken']);
});

it('follows the address and writes to it', () => {
  const { result } = renderHook(() => useSelection(LISTED));
  expect(result.current[0]).toEqual({ venue: 'coinbase', symbol: 'BTC-USD' });
  act(() => {
    result.current[1]({ venue: 'kraken', symbol: 'ADA-USD' });
  });
  expect(window.location.hash).toBe('#kraken/ADA-USD');
  expect(result.current[0]).toEqual({ venue: 'kraken', symbol: 'ADA-USD' });
  act(() => {
    window.location.hash = '#kraken/BTC-USD';
    window.dispatchEvent(new Event('hashchange'));
  });
  expect(result.current[0]).toEqual({ venue: 'kraken', symbol: 'BTC-USD' });
});
