/** The gateway's REST interface, as far as this page uses it. */
import { asFields, asList, number, opportunity, ProtocolError, text, type Fields } from '@alphapulse/client';
import type { OpportunityFields as Opportunity } from '@alphapulse/client';

import { currentToken } from './credentials.ts';

export interface Exchange {
  readonly venue: string;
  readonly status: string;
  readonly instruments: number;
  readonly validBooks: number;
  readonly staleBooks: number;
  readonly invalidBooks: number;
  /** Milliseconds, of the youngest book; null without one. */
  readonly bookAge: number | null;
  readonly recordsPerSecond: number;
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

export interface Lag {
  readonly name: string;
  readonly records: number;
  readonly seconds: number;
  readonly ageSeconds: number;
}

export interface Health {
  readonly status: string;
  /** What is not well, a line each. */
  readonly reasons: readonly string[];
  readonly services: readonly ServiceHealth[];
  /** How far each consumer is behind, and how old that knowledge is. */
  readonly lag: readonly Lag[];
  readonly uptimeSeconds: number;
}

function maybeNumber(from: Fields, name: string): number | null {
  return from[name] === null || from[name] === undefined ? null : number(from, name);
}

export function readExchanges(body: unknown): Exchange[] {
  return asList(asFields(body, 'exchanges')['exchanges'], 'exchanges').map((entry) => {
    const from = asFields(entry, 'exchanges');
    return {
      venue: text(from, 'venue'),
      status: text(from, 'status'),
      instruments: number(from, 'instruments'),
      validBooks: number(from, 'valid_books'),
      staleBooks: number(from, 'stale_books'),
      invalidBooks: number(from, 'invalid_books'),
      bookAge: maybeNumber(from, 'book_age_ms'),
      recordsPerSecond: number(from, 'records_per_second'),
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
  return {
    status: text(from, 'status'),
    services: Object.entries(asFields(from['services'], 'services')).map(([name, value]) => serviceOf(name, value)),
    reasons: asList(from['reasons'], 'reasons').map((reason) => String(reason)),
    lag: Object.entries(asFields(from['lag'], 'lag')).map(([name, value]) => {
      const lag = asFields(value, `lag.${name}`);
      return {
        name,
        records: number(lag, 'records'),
        seconds: number(lag, 'seconds'),
        ageSeconds: number(lag, 'age_seconds'),
      };
    }),
    uptimeSeconds: number(from, 'uptime_seconds'),
  };
}

/** The code of a gateway that has just started: it hands out nothing until it knows the present. */
export const CATCHING_UP = 'catching_up';

/** The page's word for every answer with status 401, whatever the gateway's own code. */
export const UNAUTHORIZED = 'unauthorized';

/** A request that failed, in words for the page. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  /** What the gateway calls the fault; null where it did not answer so. */
  readonly code: string | null;

  constructor(message: string, code: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The JSON in an answer; undefined where it is none. Throws RequestError when the answer breaks off. */
async function bodyOf(path: string, response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    // The connection is gone, or the time is over, in the middle of the answer.
    throw new RequestError(`${path}: the gateway does not answer`, null, { cause: error });
  }
}

/** What is wrong by an answer that is not 2xx; its body may be that of a proxy before the gateway. */
function faultOf(path: string, status: number, body: unknown): RequestError {
  const fields = typeof body === 'object' && body !== null ? (body as Fields) : {};
  const code = typeof fields['code'] === 'string' ? fields['code'] : null;
  if (status === 401) {
    const why = typeof fields['message'] === 'string' ? fields['message'] : `${path}: the gateway answered 401`;
    return new RequestError(why, UNAUTHORIZED);
  }
  if (code === CATCHING_UP && typeof fields['message'] === 'string') return new RequestError(fields['message'], code);
  return new RequestError(`${path}: the gateway answered ${status}`, code);
}

/** GET api/v1/<path> relative to the page; throws RequestError, and nothing else, naming the path and what went wrong. */
export async function get<T>(path: string, read: (body: unknown) => T, signal: AbortSignal): Promise<T> {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  const token = currentToken();
  const headers = { accept: 'application/json', ...(token === '' ? {} : { authorization: `Bearer ${token}` }) };
  let response: Response;
  try {
    response = await fetch(url, { signal, headers });
  } catch (error) {
    throw new RequestError(`${path}: the gateway does not answer`, null, { cause: error });
  }
  const body = await bodyOf(path, response);
  if (!response.ok) throw faultOf(path, response.status, body);
  try {
    return read(body);
  } catch (error) {
    if (error instanceof ProtocolError) throw new RequestError(`${path}: ${error.message}`, null, { cause: error });
    throw error;
  }
}
