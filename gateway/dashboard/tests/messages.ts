/** Messages as the gateway sends them, for tests. */
import {
  Book,
  read,
  type BookDelta,
  type BookFault,
  type BookSnapshot,
  type OpportunityFields as Opportunity,
  type Stats,
  type Trade,
} from '@alphapulse/client';

export type BookMessage = BookSnapshot | BookDelta;

export const KRAKEN = { venue: 'kraken', symbol: 'BTC-USD' } as const;

type LevelText = readonly [price: string, size: string];

export interface BookParts {
  readonly venue?: string;
  readonly sequence?: number;
  readonly previousSequence?: number;
  readonly time?: number;
  readonly epoch?: string;
  readonly valid?: boolean;
  readonly reason?: BookFault | null;
  readonly bids?: readonly LevelText[];
  readonly asks?: readonly LevelText[];
}

/** A delta builds on the sequence before unless the test says otherwise. */
function bookJson(type: 'snapshot' | 'delta', { previousSequence, ...parts }: BookParts): Record<string, unknown> {
  const { sequence = 0, valid = true } = parts;
  return {
    type,
    channel: 'book',
    ...KRAKEN,
    epoch: '1723100000000000000',
    sequence,
    ...(type === 'delta' ? { previous_sequence: previousSequence ?? sequence - 1 } : {}),
    time: 1_723_100_000_000_000,
    valid,
    reason: valid ? null : 'invalid',
    bids: [],
    asks: [],
    ...parts,
  };
}

/** A book of which nothing is known yet, and which never grows old. */
export function emptyBook(): Book {
  return new Book(KRAKEN.venue, KRAKEN.symbol, { gatewayTime: () => null, maxAge: () => null });
}

/** The gateway's first message. */
export function hello(time: number, parts: Record<string, unknown> = {}): Record<string, unknown> {
  return { type: 'hello', version: 2, gateway: 'g', access: 'open', heartbeat_ms: 5_000, max_book_age_ms: 5_000, time, ...parts };
}

function book(type: 'snapshot' | 'delta', parts: BookParts): BookMessage {
  const message = read(bookJson(type, parts));
  if (message?.channel === 'book') return message;
  throw new Error(`no message of a book: ${JSON.stringify(message)}`);
}

/** Messages of a book, as they travel. */
export const snapshotJson = (parts: BookParts = {}): Record<string, unknown> => bookJson('snapshot', parts);
export const deltaJson = (parts: BookParts = {}): Record<string, unknown> => bookJson('delta', parts);

/** The same as the page holds them. */
export const snapshot = (parts: BookParts = {}): BookMessage => book('snapshot', parts);
export const delta = (parts: BookParts = {}): BookMessage => book('delta', parts);

/** Statistics as they travel. */
export function statsJson(parts: Record<string, unknown> = {}): Record<string, unknown> {
  const window = { window_start: 1, window_end: 2, epoch: '1', sequence: 1, valid: true, snapshots: 0, deltas: 3 };
  const levels = { level_changes: 1234, levels_added: 1, levels_updated: 1, levels_removed: 1, bid_levels: 20, ask_levels: 20 };
  return { type: 'stats', channel: 'stats', ...KRAKEN, ...window, ...levels, trades: 2, latency_mean: null, ...parts };
}

/** The same as the page holds them. */
export function stats(parts: Record<string, unknown> = {}): Stats {
  const message = read(statsJson(parts));
  if (message?.type === 'stats') return message;
  throw new Error('no statistics');
}

export function trade(id: string, parts: Partial<Trade> = {}): Trade {
  return { id, side: 'buy', price: '61685.99', size: '0.1', time: 1_723_100_000_000_000, receivedTime: null, ...parts };
}

/** A trade as it travels. */
export function tradeJson(id: string): Record<string, unknown> {
  return { id, side: 'buy', price: '61685.99', size: '0.1', time: 1_723_100_000_000_000, received_time: 1_723_100_000_000_000 };
}

export function opportunity(id: string, parts: Partial<Opportunity> = {}): Opportunity {
  return {
    id,
    state: 'opened',
    symbol: 'BTC-USD',
    buyVenue: 'coinbase',
    sellVenue: 'kraken',
    buyPrice: '61600.00',
    sellPrice: '61690.50',
    buyLimitPrice: '61600.00',
    sellLimitPrice: '61690.50',
    grossProfit: '22.625',
    size: '0.25',
    netProfit: '12.3456',
    netBasisPoints: 8.02,
    openedTime: 1_723_100_000_000_000,
    updatedTime: 1_723_100_000_000_000,
    closeReason: null,
    ...parts,
  };
}

/** An opportunity as it travels. */
export function opportunityJson(id: string, parts: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: 'opportunity',
    channel: 'arbitrage',
    opportunity_id: id,
    state: 'opened',
    symbol: 'BTC-USD',
    buy_venue: 'coinbase',
    sell_venue: 'kraken',
    buy_price: '61600.00',
    sell_price: '61690.50',
    buy_limit_price: '61600.00',
    sell_limit_price: '61690.50',
    size: '0.25',
    gross_profit: '22.625',
    net_profit: '12.3456',
    net_basis_points: 8.02,
    buy_fee_basis_points: 4,
    sell_fee_basis_points: 4,
    opened_time: 1_723_100_000_000_000,
    updated_time: 1_723_100_000_250_000,
    close_reason: null,
    ...parts,
  };
}
