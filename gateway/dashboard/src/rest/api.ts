/** The gateway's REST interface, as far as this page uses it. */
import { asFields, asList, number, opportunity, ProtocolError, text, type Fields } from '../stream/decode.ts';
import type { Opportunity } from '../stream/protocol.ts';

export interface Exchange {
  readonly venue: string;
  readonly status: string;
  readonly instruments: number;
  readonly recordsPerSecond: number;
  /** Microseconds by the server's clock; null before the first record. */
  readonly lastRecordTime: number | null;
}

export interface Instrument {
  readonly venue: string;
  readonly symbol: string;
  readonly valid: boolean;
}

export interface ServiceHealth {
  readonly name: string;
  readonly status: string;
  /** What is wrong, if something is. */
  readonly detail: string;
}

export interface Health {
  readonly status: string;
  readonly services: readonly ServiceHealth[];
  /** Records behind, by consumer. */
  readonly lag: readonly { readonly name: string; readonly records: number }[];
  readonly uptimeSeconds: number;
}

function maybeNumber(from: Fields, name: string): number | null {
  return from[name] === null || from[name] === undefined ? null : number(from, name);
}

export function readExchanges(body: unknown): Exchange[] {
  return asList(asFields(body, 'exchanges')['exchanges'], 'exchanges').map((entry) => {
    const from = asFields(entry, 'exchanges');
    const last = maybeNumber(from, 'last_record_time');
    return {
      venue: text(from, 'venue'),
      status: text(from, 'status'),
      instruments: number(from, 'instruments'),
      recordsPerSecond: number(from, 'records_per_second'),
      lastRecordTime: last === 0 ? null : last,
    };
  });
}

export function readInstruments(body: unknown): Instrument[] {
  return asList(asFields(body, 'instruments')['instruments'], 'instruments').map((entry) => {
    const from = asFields(entry, 'instruments');
    return { venue: text(from, 'venue'), symbol: text(from, 'symbol'), valid: from['valid'] !== false };
  });
}

export function readOpportunities(body: unknown): Opportunity[] {
  const list = asList(asFields(body, 'opportunities')['opportunities'], 'opportunities');
  return list.map((entry) => opportunity(asFields(entry, 'opportunities')));
}

function serviceOf(name: string, value: unknown): ServiceHealth {
  if (typeof value === 'string') return { name, status: value, detail: '' };
  const from = asFields(value, `services.${name}`);
  const message = from['message'];
  return { name, status: text(from, 'status'), detail: typeof message === 'string' ? message : '' };
}

export function readHealth(body: unknown): Health {
  const from = asFields(body, 'health');
  const lag = from['lag'] === undefined ? {} : asFields(from['lag'], 'lag');
  return {
    status: text(from, 'status'),
    services: Object.entries(asFields(from['services'], 'services')).map(([name, value]) => serviceOf(name, value)),
    lag: Object.entries(lag)
      .filter((entry): entry is [string, number] => typeof entry[1] === 'number')
      .map(([name, records]) => ({ name, records })),
    uptimeSeconds: number(from, 'uptime_seconds'),
  };
}

/** A request that failed, in words for the page. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
}

/** GET api/v1/<path> relative to the page; throws RequestError naming the path and what went wrong. */
export async function get<T>(path: string, read: (body: unknown) => T, signal: AbortSignal): Promise<T> {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  let response: Response;
  try {
    response = await fetch(url, { signal, headers: { accept: 'application/json' } });
  } catch (error) {
    throw new RequestError(`${path}: the gateway does not answer`, { cause: error });
  }
  if (!response.ok) throw new RequestError(`${path}: the gateway answered ${response.status}`);
  try {
    return read(await response.json());
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof SyntaxError) {
      throw new RequestError(`${path}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}
