// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { randomFrom } from './gateway.ts';
import {
  add,
  basisPoints,
  between,
  compare,
  decimalsOf,
  formatDecimal,
  grouped,
  midpoint,
  parseDecimal,
  rounded,
  significantDecimals,
  subtract,
  toRatio,
  withDecimals,
  ZERO,
  type Decimal,
} from '../src/decimal.ts';

function d(text: string): Decimal {
  const value = parseDecimal(text);
  if (!value) throw new Error(`not a decimal: ${text}`);
  return value;
}

describe('parseDecimal', () => {
  it.each(['0', '61685.99', '-0.5', '0.00000001', '123456789012345678901234567890.123456789012345678'])(
    'keeps every digit of %s',
    (text) => {
      expect(formatDecimal(d(text))).toBe(text);
    },
  );

  it.each(['', ' 1', '1e5', '.5', '5.', 'NaN', '1,000', '--1', '0x10', '1.2.3'])('refuses %j', (text) => {
    expect(parseDecimal(text)).toBeNull();
  });
});

describe('arithmetic', () => {
  it('compares numbers, not texts', () => {
    expect(compare(d('9.5'), d('10.25'))).toBe(-1);
    expect(compare(d('1.50'), d('1.5'))).toBe(0);
    expect(compare(d('-1'), d('-1.01'))).toBe(1);
  });

  it('is exact where floats are not', () => {
    expect(formatDecimal(add(d('0.1'), d('0.2')))).toBe('0.3');
    expect(formatDecimal(subtract(d('61686.10'), d('61685.99')))).toBe('0.11');
    expect(formatDecimal(midpoint(d('61685.99'), d('61686.00')))).toBe('61685.995');
    expect(formatDecimal(subtract(d('1'), d('1.25')))).toBe('-0.25');
  });

  it('adds what it subtracts, for any two numbers', () => {
    const random = randomFrom(11);
    for (let n = 0; n < 500; n += 1) {
      const a: Decimal = { mantissa: BigInt(Math.floor((random() - 0.5) * 1e15)), scale: Math.floor(random() * 12) };
      const b: Decimal = { mantissa: BigInt(Math.floor((random() - 0.5) * 1e15)), scale: Math.floor(random() * 12) };
      expect(compare(subtract(add(a, b), b), a)).toBe(0);
      expect(compare(a, b)).toBe(-compare(b, a) || 0);
      expect(compare(d(formatDecimal(a)), a)).toBe(0);
    }
  });

  it('gives basis points with two decimals, rounded half away from zero', () => {
    expect(basisPoints(d('1'), d('100'))).toBe('100.00');
    expect(basisPoints(d('0.25'), d('61717.625'))).toBe('0.04');
    expect(basisPoints(d('-0.0000005'), d('1'))).toBe('-0.01');
    expect(basisPoints(d('1'), ZERO)).toBeNull();
  });

  it('rounds half away from zero and never adds decimals', () => {
    expect(formatDecimal(rounded(d('1.005'), 2))).toBe('1.01');
    expect(formatDecimal(rounded(d('-1.005'), 2))).toBe('-1.01');
    expect(formatDecimal(rounded(d('1.0049'), 2))).toBe('1.00');
    expect(formatDecimal(rounded(d('7'), 2))).toBe('7');
  });

  it('finds points between two numbers', () => {
    expect(formatDecimal(between(d('10'), d('11'), 1, 4, 2))).toBe('10.25');
    expect(formatDecimal(between(d('10'), d('10.001'), 1, 2, 2))).toBe('10.00');
  });

  it('gives ratios for geometry, also of numbers beyond the safe integers', () => {
    expect(toRatio(d('1'), d('4'))).toBe(0.25);
    expect(toRatio(d('1'), ZERO)).toBe(0);
    expect(toRatio(d('123456789012345678901'), d('246913578024691357802'))).toBeCloseTo(0.5, 12);
  });
});

describe('texts', () => {
  it('counts decimals', () => {
    expect([decimalsOf('61685'), decimalsOf('0.500')]).toEqual([0, 3]);
    expect([significantDecimals('0.500'), significantDecimals('7.000'), significantDecimals('7')]).toEqual([1, 0, 0]);
  });

  it('fills and cuts zeros but never a digit that counts', () => {
    expect(withDecimals('5', 2)).toBe('5.00');
    expect(withDecimals('5.1', 2)).toBe('5.10');
    expect(withDecimals('5.10000000', 2)).toBe('5.10');
    expect(withDecimals('5.12345', 2)).toBe('5.12345');
    expect(withDecimals('5.000', 0)).toBe('5');
    expect(withDecimals('5.12', 2)).toBe('5.12');
  });

  it('groups thousands of the integer part alone', () => {
    expect(grouped('1234567.1234567')).toBe('1,234,567.1234567');
    expect(grouped('-61685')).toBe('-61,685');
    expect(grouped('999.5')).toBe('999.5');
  });
});
