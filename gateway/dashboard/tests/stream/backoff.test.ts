// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { CLOSED_DEAD, FLOOR_MS, LAST_CEILING_MS, reconnectDelay } from '../../src/stream/backoff.ts';

const usual = { code: 1006, attempt: 0, loopback: false, random: () => 0.999 };

describe('reconnectDelay', () => {
  it('doubles its ceiling up to the last one', () => {
    const delays = Array.from({ length: 12 }, (_, attempt) => reconnectDelay({ ...usual, attempt }) ?? -1);
    expect(delays[0]).toBeCloseTo(500, -1);
    expect(delays[3]).toBeCloseTo(4000, -2);
    expect(delays.at(-1)).toBeLessThanOrEqual(LAST_CEILING_MS);
    expect(delays.at(-1)).toBeGreaterThan(LAST_CEILING_MS * 0.99);
    expect(reconnectDelay({ ...usual, attempt: 5000 })).toBeLessThanOrEqual(LAST_CEILING_MS);
  });

  it('draws from the whole range below the ceiling, but never a busy loop', () => {
    expect(reconnectDelay({ ...usual, attempt: 4, random: () => 0.5 })).toBe(4000);
    expect(reconnectDelay({ ...usual, attempt: 4, random: () => 0 })).toBe(FLOOR_MS);
  });

  it('spreads over 5 to 30 s after a restart, except on the same machine', () => {
    const restart = { ...usual, code: 1012 };
    expect(reconnectDelay({ ...restart, random: () => 0 })).toBe(5_000);
    expect(reconnectDelay({ ...restart, random: () => 0.5 })).toBe(17_500);
    expect(reconnectDelay({ ...restart, loopback: true })).toBeLessThanOrEqual(500);
    expect(reconnectDelay({ ...restart, attempt: 1 })).toBeLessThanOrEqual(1000);
  });

  it('stays away when the server says so', () => {
    expect(reconnectDelay({ ...usual, code: 3500 })).toBeNull();
    expect(reconnectDelay({ ...usual, code: 4899 })).toBeNull();
    expect(reconnectDelay({ ...usual, code: 3499 })).not.toBeNull();
    expect(reconnectDelay({ ...usual, code: CLOSED_DEAD })).not.toBeNull();
  });
});
