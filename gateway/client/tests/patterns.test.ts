import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { intersect, matches } from '../src/patterns.ts';

const NAMES = ['', ...[1, 2, 3, 4, 5, 6].flatMap((length) => Array.from({ length: 2 ** length }, (_, bits) => bits.toString(2).padStart(length, '0').replaceAll('0', 'a').replaceAll('1', 'b')))];

describe('patterns', () => {
  it.each([
    ['BTC-USD', 'BTC-USD', true],
    ['BTC-*', 'BTC-USD', true],
    ['*', '', true],
    ['*-USD', 'BTC-USDT', false],
    ['B.*', 'BTC', false],
    ['*T*U*', 'BTC-USD', true],
  ])('%s covers %s: %s', (pattern, name, expected) => {
    expect(matches(pattern, name)).toBe(expected);
  });

  it('intersect if and only if they have a common name', () => {
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 3 });
    fc.assert(
      fc.property(pattern, pattern, (one, other) => {
        // The shortest common name is no longer than both patterns together.
        expect(intersect(one, other)).toBe(NAMES.some((name) => matches(one, name) && matches(other, name)));
      }),
    );
  });
});
