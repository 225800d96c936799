/**
 * Reading what the server said.
 *
 * Every field this page uses is checked, so that the rest of the program can trust its types.
 */
import { parseDecimal, type Decimal } from './decimal.ts';
import type { BookFault, BookMessage, Level, Opportunity, ServerMessage, Side, StatsMessage, TradesMessage } from './protocol.ts';

/** A message that breaks the protocol; names the field. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

export type Fields = Record<string, unknown>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function asFields(value: unknown, what: string): Fields {
  if (isFields(value)) return value;
  throw new ProtocolError(`${what}: expected an object`);
}

export function asList(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new ProtocolError(`${what}: expected a list`);
}

export function text(from: Fields, name: string): string {
  const value = from[name];
  if (typeof value === 'string') return value;
  throw new ProtocolError(`${name}: expected text, got ${JSON.stringify(value)}`);
}

export function number(from: Fields, name: string): number {
  const value = from[name];
  if (typeof value === 'number') return value;
  throw new ProtocolError(`${name}: expected a number, got ${JSON.stringify(value)}`);
}

function identifier(from: Fields, name: string): string {
  const value = from[name];
  return typeof value === 'number' ? String(value) : text(from, name);
}

function exact(value: unknown, name: string): readonly [text: string, value: Decimal] {
  const parsed = typeof value === 'string' ? parseDecimal(value) : null;
  if (typeof value === 'string' && parsed) return [value, parsed];
  throw new ProtocolError(`${name}: expected decimal text, got ${JSON.stringify(value)}`);
}

function decimal(value: unknown, name: string): string {
  return exact(value, name)[0];
}

/** Microseconds as a number, or nanoseconds as decimal text (they do not fit a double). */
export function microseconds(from: Fields, name: string): number {
  const value = from[name];
  if (typeof value === 'string' && /^\d+$/.test(value)) return Number(BigInt(value) / 1000n);
  return number(from, name);
}

function messageId(from: Fields): number | null {
  const value = from['id'];
  return typeof value === 'number' ? value : null;
}

function levels(from: Fields, name: string): readonly Level[] {
  return asList(from[name], name).map((entry): Level => {
    const pair = asList(entry, name);
    const [price, exactPrice] = exact(pair[0], `${name} price`);
    const [size, exactSize] = exact(pair[1], `${name} size`);
    return { price, size, exactPrice, exactSize };
  });
}

function faultOf(from: Fields): BookFault | null {
  if (from['valid'] !== false) return null;
  const reason = from['reason'];
  // A reason of a later version: the book is not to be used, whatever it is.
  return reason === 'no_book' || reason === 'stale' ? reason : 'invalid';
}

function book(from: Fields, type: 'snapshot' | 'delta'): BookMessage {
  return {
    type,
    channel: 'book',
    venue: text(from, 'venue'),
    symbol: text(from, 'symbol'),
    epoch: identifier(from, 'epoch'),
    sequence: number(from, 'sequence'),
    ...(type === 'delta' ? { previousSequence: number(from, 'previous_sequence') } : {}),
    time: microseconds(from, 'time'),
    valid: from['valid'] !== false,
    reason: faultOf(from),
    bids: levels(from, 'bids'),
    asks: levels(from, 'asks'),
  };
}

function side(from: Fields): Side {
  const value = text(from, 'side').toLowerCase();
  return value === 'buy' || value === 'sell' ? value : 'unknown';
}

function trades(from: Fields, type: 'snapshot' | 'trades'): TradesMessage {
  return {
    type,
    channel: 'trades',
    venue: text(from, 'venue'),
    symbol: text(from, 'symbol'),
    trades: asList(from['trades'], 'trades').map((entry) => {
      const trade = asFields(entry, 'trades');
      return {
        id: identifier(trade, 'id'),
        side: side(trade),
        price: decimal(trade['price'], 'price'),
        size: decimal(trade['size'], 'size'),
        time: microseconds(trade, 'time'),
      };
    }),
  };
}

/** Also what /api/v1/arbitrage/opportunities lists. */
export function opportunity(from: Fields): Opportunity {
  const state = text(from, 'state').toLowerCase();
  if (state !== 'opened' && state !== 'changed' && state !== 'closed') {
    throw new ProtocolError(`state: expected opened, changed or closed, got ${JSON.stringify(state)}`);
  }
  const reason = from['close_reason'];
  return {
    id: identifier(from, 'opportunity_id'),
    state,
    symbol: text(from, 'symbol'),
    buyVenue: text(from, 'buy_venue'),
    sellVenue: text(from, 'sell_venue'),
    buyPrice: decimal(from['buy_price'], 'buy_price'),
    sellPrice: decimal(from['sell_price'], 'sell_price'),
    size: decimal(from['size'], 'size'),
    netProfit: decimal(from['net_profit'], 'net_profit'),
    netBasisPoints: number(from, 'net_basis_points'),
    openedTime: microseconds(from, 'opened_time'),
    updatedTime: microseconds(from, 'updated_time'),
    closeReason: typeof reason === 'string' ? reason : null,
  };
}

function stats(from: Fields): StatsMessage {
  const latency = from['latency_mean'];
  return {
    type: 'stats',
    venue: text(from, 'venue'),
    symbol: text(from, 'symbol'),
    deltas: number(from, 'deltas'),
    levelChanges: number(from, 'level_changes'),
    trades: number(from, 'trades'),
    bidLevels: number(from, 'bid_levels'),
    askLevels: number(from, 'ask_levels'),
    latencyMean: typeof latency === 'number' ? latency : null,
  };
}

function snapshot(from: Fields): ServerMessage {
  const channel = text(from, 'channel');
  switch (channel) {
    case 'book':
      return book(from, 'snapshot');
    case 'trades':
      return trades(from, 'snapshot');
    case 'arbitrage':
      return {
        type: 'snapshot',
        channel,
        symbol: text(from, 'symbol'),
        opportunities: asList(from['opportunities'], 'opportunities').map((entry) =>
          opportunity(asFields(entry, 'opportunities')),
        ),
      };
    default:
      return { type: 'other', name: `snapshot of ${channel}` };
  }
}

function read(value: unknown): ServerMessage {
  const from = asFields(value, 'message');
  const type = text(from, 'type');
  switch (type) {
    case 'hello':
      return {
        type,
        version: number(from, 'version'),
        heartbeatMs: number(from, 'heartbeat_ms'),
        maxBookAgeMs: number(from, 'max_book_age_ms'),
        time: number(from, 'time'),
      };
    case 'subscribed':
      return { type, id: messageId(from) };
    case 'pong':
      return { type, id: messageId(from), time: number(from, 'time') };
    case 'error':
      return { type, id: messageId(from), code: text(from, 'code'), message: text(from, 'message') };
    case 'snapshot':
      return snapshot(from);
    case 'delta':
      return from['channel'] === 'book' ? book(from, type) : { type: 'other', name: 'delta' };
    case 'trades':
      return trades(from, type);
    case 'opportunity':
      return { type, opportunity: opportunity(from) };
    case 'stats':
      return stats(from);
    default:
      return { type: 'other', name: type };
  }
}

function readSafely(make: () => unknown): ServerMessage {
  try {
    return read(make());
  } catch (error) {
    if (error instanceof ProtocolError || error instanceof SyntaxError) {
      return { type: 'unreadable', reason: error.message };
    }
    throw error;
  }
}

/** All messages of one WebSocket message: an object, a list of objects, or one object per line. Never throws. */
export function decode(data: string): ServerMessage[] {
  if (data.includes('\n')) {
    return data
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => readSafely(() => JSON.parse(line) as unknown));
  }
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (error) {
    return [{ type: 'unreadable', reason: error instanceof Error ? error.message : String(error) }];
  }
  return Array.isArray(value) ? value.map((entry: unknown) => readSafely(() => entry)) : [readSafely(() => value)];
}
