// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { GatewayClock } from '../src/clock.ts';

const MINUTE = 60_000;

describe('GatewayClock', () => {
  it('knows nothing before the gateway has told its time', () => {
    expect(new GatewayClock().at(5)).toBeNull();
  });

  it('takes the middle of the round trip for the moment of the answer', () => {
    const clock = new GatewayClock();
    clock.heard((1_000_000 + MINUTE) * 1000, 1_000_000 - 40, 1_000_000 + 40);
    expect(clock.at(2_000_000)).toBe((2_000_000 + MINUTE) * 1000);
  });

  it('believes the shortest round trip', () => {
    const clock = new GatewayClock();
    clock.heard(1_000 * 1000, 1_000, 1_010);
    clock.heard(3_000 * 1000, 2_000, 2_400);
    expect(clock.at(0)).toBe(-5_000);
    clock.heard(3_000 * 1000, 2_999, 3_001);
    expect(clock.at(0)).toBe(0);
  });

  it('lets an old measurement go, since clocks drift and are set', () => {
    const clock = new GatewayClock();
    clock.heard(1_000 * 1000, 999, 1_001);
    clock.heard((5 * MINUTE + 500) * 1000, 5 * MINUTE - 50, 5 * MINUTE + 50);
    expect(clock.at(0)).toBe(500_000);
  });
});
