import { afterEach, describe, expect, it, vi } from 'vitest';

import {
  get,
  readExchanges,
  readHealth,
  readInstruments,
  readOpportunities,
  RequestError,
} from '../../src/rest/api.ts';
import { opportunityJson } from '../messages.ts';

const signal = new AbortController().signal;

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('readers', () => {
  it('read exchanges; without a book there is no age', () => {
    const books = { valid_books: 2, stale_books: 1, invalid_books: 0 };
    const exchange = { venue: 'kraken', status: 'connected', instruments: 3, ...books, records_per_second: 12.5 };
    const body = { exchanges: [{ ...exchange, book_age_ms: 0 }, { ...exchange, book_age_ms: null }] };
    expect(readExchanges(body).map(({ bookAge }) => bookAge)).toEqual([0, null]);
    expect(readExchanges(body)[0]).toMatchObject({ validBooks: 2, staleBooks: 1, invalidBooks: 0 });
    expect(() => readExchanges({ exchanges: [{ venue: 'kraken' }] })).toThrow('status: expected text');
  });

  it('read instruments', () => {
    const body = { instruments: [{ venue: 'a', symbol: 'B', valid: false, best_bid: null }, { venue: 'a', symbol: 'C' }] };
    expect(readInstruments(body)).toEqual([
      { venue: 'a', symbol: 'B', valid: false },
      { venue: 'a', symbol: 'C', valid: true },
    ]);
    expect(() => readInstruments([])).toThrow('instruments: expected an object');
  });

  it('read opportunities', () => {
    expect(readOpportunities({ opportunities: [opportunityJson('a')] })).toMatchObject([{ id: 'a', state: 'opened' }]);
  });

  it('read the health of services, as words or with a message, and the lag', () => {
    const body = {
      status: 'degraded',
      services: { gateway: 'ok', sink: { status: 'down', message: 'does not answer' } },
      reasons: ['sink: does not answer'],
      lag: { sink: { records: 1200, seconds: 3.5, age_seconds: 1 } },
      uptime_seconds: 3.5,
    };
    expect(readHealth(body)).toEqual({
      status: 'degraded',
      services: [
        { name: 'gateway', status: 'ok', detail: '' },
        { name: 'sink', status: 'down', detail: 'does not answer' },
      ],
      reasons: ['sink: does not answer'],
      lag: [{ name: 'sink', records: 1200, seconds: 3.5, ageSeconds: 1 }],
      uptimeSeconds: 3.5,
    });
    expect(readHealth({ status: 'ok', reasons: [], services: {}, lag: {}, uptime_seconds: 1 }).lag).toEqual([]);
  });
});

/** The time is over in the middle of the body. */
function brokenOff(status = 200): Response {
  const body = new ReadableStream({
    start(controller) {
      controller.error(new DOMException('signal timed out', 'TimeoutError'));
    },
  });
  return new Response(body, { status });
}

describe('get', () => {
  it('asks below the page and gives what the reader makes of the answer', async () => {
    const fetched = vi.fn(() => Promise.resolve(Response.json({ instruments: [] })));
    vi.stubGlobal('fetch', fetched);
    await expect(get('instruments', readInstruments, signal)).resolves.toEqual([]);
    expect(String((fetched.mock.calls as unknown[][])[0]?.[0])).toBe(new URL('api/v1/instruments', document.baseURI).href);
  });

  it.each([
    ['no answer', () => Promise.reject(new TypeError('refused')), 'instruments: the gateway does not answer'],
    ['a refusal', () => Promise.resolve(new Response('', { status: 503 })), 'instruments: the gateway answered 503'],
    ['no JSON', () => Promise.resolve(new Response('<html>')), 'instruments: '],
    ['an answer that breaks off', () => Promise.resolve(brokenOff()), 'instruments: the gateway does not answer'],
    ['a refusal that breaks off', () => Promise.resolve(brokenOff(500)), 'instruments: the gateway does not answer'],
    ['another shape', () => Promise.resolve(Response.json({})), 'instruments: instruments: expected a list'],
  ])('names the path when there is %s', async (_, answer, words) => {
    vi.stubGlobal('fetch', answer);
    const error = await get('instruments', readInstruments, signal).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RequestError);
    expect((error as RequestError).message).toContain(words);
  });

  it('tells the gateway’s own word for a fault, and in its words that it catches up', async () => {
    const fault = { code: 'catching_up', message: 'the gateway has just started' };
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json(fault, { status: 503 })));
    await expect(get('instruments', readInstruments, signal)).rejects.toMatchObject(fault);
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ code: 'bad_value', message: 'x' }, { status: 422 })));
    const refused = { code: 'bad_value', message: 'instruments: the gateway answered 422' };
    await expect(get('instruments', readInstruments, signal)).rejects.toMatchObject(refused);
  });
});
