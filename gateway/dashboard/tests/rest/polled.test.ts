import { act, renderHook } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { readInstruments } from '../../src/rest/api.ts';
import { usePolled } from '../../src/rest/polled.ts';

let answers: (() => Promise<Response>)[];
let requests: number;

beforeEach(() => {
  vi.useFakeTimers();
  answers = [];
  requests = 0;
  vi.stubGlobal('fetch', () => {
    requests += 1;
    return (answers.shift() ?? (() => Promise.resolve(Response.json({ instruments: [] }))))();
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const settle = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

it('asks again and again, keeps the last good answer and says what failed', async () => {
  answers.push(
    () => Promise.resolve(Response.json({ instruments: [{ venue: 'a', symbol: 'B' }] })),
    () => Promise.resolve(Response.json({ code: 'odd' }, { status: 500 })),
  );
  const { result, unmount } = renderHook(() => usePolled('instruments', readInstruments, 1000));
  expect(result.current).toEqual({ value: null, problem: null, code: null });
  await settle(0);
  expect(result.current).toMatchObject({ value: [{ venue: 'a' }], problem: null });
  await settle(1000);
  expect(result.current).toMatchObject({ value: [{ venue: 'a' }], problem: 'instruments: the gateway answered 500', code: 'odd' });
  await settle(1000);
  expect(result.current).toEqual({ value: [], problem: null, code: null });
  unmount();
  await settle(5000);
  expect(requests).toBe(3);
});

it('never has two requests at once', async () => {
  answers.push(() => new Promise(() => undefined));
  renderHook(() => usePolled('instruments', readInstruments, 100));
  await settle(1000);
  expect(requests).toBe(1);
});

it('rests while the page is hidden', async () => {
  const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  renderHook(() => usePolled('instruments', readInstruments, 100));
  await settle(1000);
  expect(requests).toBe(0);
  hidden.mockReturnValue(false);
  await settle(100);
  expect(requests).toBe(1);
});
