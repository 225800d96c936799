import { describe, expect, it } from 'vitest';

import { FLOOR_MS, isLoopback, LAST_CEILING_MS, Reconnecting, refusalOf, type End } from '../src/reconnecting.ts';

const end = (parts: Partial<End> = {}): End => ({ code: 1006, reason: '', lived: 0, spread: null, ...parts });

describe('pauses', () => {
  it('grow to a limit, and begin anew after a good connection', () => {
    const reconnecting = new Reconnecting({ local: false, random: () => 0.999 });
    const pauses = Array.from({ length: 12 }, () => Math.ceil(reconnecting.pause(end())));
    expect(pauses.slice(0, 3)).toEqual([500, 999, 1998].map((ms) => expect.closeTo(ms, -1) as number));
    expect(pauses.at(-1)).toBeCloseTo(LAST_CEILING_MS, -2);
    expect(reconnecting.pause(end({ lived: 6_000 }))).toBeLessThanOrEqual(500);
  });

  it('never become a busy loop', () => {
    expect(new Reconnecting({ local: true, random: () => 0 }).pause(end())).toBe(FLOOR_MS);
  });

  it('spread the clients of a gateway that restarts, as it told', () => {
    const options = { local: false, random: () => 0.5 };
    expect(new Reconnecting(options).pause(end({ code: 1012, lived: 1, spread: [2_000, 4_000] }))).toBe(3_000);
    expect(new Reconnecting(options).pause(end({ code: 1012, lived: 1 }))).toBe(17_500);
    expect(new Reconnecting({ ...options, local: true }).pause(end({ code: 1012, lived: 1 }))).toBe(250);
  });
});

describe('close codes', () => {
  it.each([1000, 1001, 1006, 1011, 1012, 3008, 3012, 3013, 4900])('%i: come back', (code) => {
    expect(refusalOf(end({ code }))).toBeNull();
  });

  it.each([
    [1009, 'ConnectionRefused'],
    [3500, 'ConnectionRefused'],
    [3000, 'CredentialsRefused'],
    [3003, 'CredentialsRefused'],
  ])('%i: %s', (code, name) => {
    expect(refusalOf(end({ code, reason: 'why' }))).toMatchObject({ name, code, message: expect.stringContaining('why') as string });
  });
});

describe('loopback', () => {
  it.each(['localhost', 'app.localhost', '127.0.0.1', '[::1]'])('is %s', (name) => {
    expect(isLoopback(name)).toBe(true);
  });

  it('is no other host', () => {
    expect(isLoopback('example.com')).toBe(false);
  });
});
