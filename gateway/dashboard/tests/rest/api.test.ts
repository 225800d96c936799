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
  it('read exchanges; no last record is null', () => {
    const exchange = { venue: 'kraken', status: 'connected', instruments: 3, records_per_second: 12.5 };
    const body = { exchanges: [{ ...exchange, last_record_time: 5 }, { ...exchange, last_record_time: null }] };
    expect(readExchanges(body).map(({ lastRecordTime }) => lastRecordTime)).toEqual([5, null]);
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
      lag: { sink: 1200, odd: 'x' },
      uptime_seconds: 3.5,
    };
    expect(readHealth(body)).toEqual({
      status: 'degraded',
      services: [
        { name: 'gateway', status: 'ok', detail: '' },
        { name: 'sink', status: 'down', detail: 'does not answer' },
      ],
      lag: [{ name: 'sink', records: 1200 }],
      uptimeSeconds: 3.5,
    });
    expect(readHealth({ status: 'ok', services: {}, uptime_seconds: 1 }).lag).toEqual([]);
  });
});

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
    ['another shape', () => Promise.resolve(Response.json({})), 'instruments: instruments: expected a list'],
  ])('names the path when there is %s', async (_, answer, words) => {
    vi.stubGlobal('fetch', answer);
    const error = await get('instruments', readInstruments, signal).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RequestError);
    expect((error as RequestError).message).toContain(words);
  });
});
