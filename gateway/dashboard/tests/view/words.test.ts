// @vitest-environment node
import { expect, it } from 'vitest';

import { coloursOf } from '../../src/view/colours.ts';
import { baseOf, clock, count, duration, preciseClock, quoteOf, rate, toneOf, venueName } from '../../src/view/words.ts';

it('writes lengths of time with two units at most', () => {
  const cases: [number, string][] = [
    [-5, '0 ms'],
    [180.4, '180 ms'],
    [999.6, '1.0 s'],
    [4_230, '4.2 s'],
    [59_960, '1 m 00 s'],
    [185_000, '3 m 05 s'],
    [7_800_000, '2 h 10 m'],
    [273_600_000, '3 d 4 h'],
  ];
  for (const [ms, words] of cases) expect(duration(ms)).toBe(words);
});

it('shortens counts and rates', () => {
  expect([0, 12, 999, 1_234, 34_400, 1_250_000].map(count)).toEqual(['0', '12', '999', '1.2k', '34k', '1.3M']);
  expect([0, 0.25, 9.96, 812.4].map(rate)).toEqual(['0', '0.3', '10', '812']);
});

it('writes the time of day', () => {
  const at = new Date(2024, 7, 8, 7, 5, 9, 42).getTime() * 1000;
  expect([clock(at), preciseClock(at)]).toEqual(['07:05:09', '07:05:09.042']);
});

it('names venues and currencies', () => {
  expect([venueName('binance_us'), baseOf('BTC-USD'), quoteOf('BTC-USD'), baseOf('AAPL'), quoteOf('AAPL')]).toEqual([
    'binance us',
    'BTC',
    'USD',
    'AAPL',
    '',
  ]);
});

it('judges status words', () => {
  expect(['OK', 'connected', 'degraded', 'down', 'puzzled'].map(toneOf)).toEqual([
    'good',
    'good',
    'doubtful',
    'bad',
    'unknown',
  ]);
});

it('gives each venue a colour that does not depend on the order of the list', () => {
  const colours = coloursOf(['kraken', 'binance', 'coinbase']);
  expect(new Set(colours.values()).size).toBe(3);
  expect(coloursOf(['coinbase', 'kraken', 'binance']).get('kraken')).toBe(colours.get('kraken'));
});
