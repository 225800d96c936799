// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { parseDecimal, ZERO } from '@alphapulse/client';
import { heightOf, labelsOf, MidHistory, rangeOf } from '../../src/view/history.ts';

const d = (text: string) => parseDecimal(text) ?? ZERO;
const at = (time: number, mids: Record<string, string>) => ({
  time,
  mids: new Map(Object.entries(mids).map(([venue, mid]) => [venue, d(mid)])),
  arbitrage: false,
});

describe('MidHistory', () => {
  it('keeps the span it was made for', () => {
    const history = new MidHistory(1000);
    for (let time = 0; time <= 5000; time += 250) history.add(at(time, { a: '1' }));
    expect(history.samples.map(({ time }) => time)).toEqual([4250, 4500, 4750, 5000]);
  });
});

describe('the chart', () => {
  it('spans the lowest and highest mid of all venues', () => {
    const range = rangeOf([at(0, { a: '10', b: '9.5' }), at(1, {}), at(2, { a: '10.25' })]);
    expect(range).toEqual({ low: d('9.5'), high: d('10.25') });
    expect(rangeOf([at(0, {})])).toBeNull();
  });

  it('places prices between them, in the middle when all are equal', () => {
    expect(heightOf(d('10'), { low: d('8'), high: d('12') })).toBe(0.5);
    expect(heightOf(d('12'), { low: d('8'), high: d('12') })).toBe(1);
    expect(heightOf(d('8'), { low: d('8'), high: d('8.0') })).toBe(0.5);
  });

  it('labels even steps', () => {
    expect(labelsOf({ low: d('10'), high: d('11') }, 3, 2)).toEqual(['10.00', '10.50', '11.00']);
  });
});
