/**
 * Messages of the stream as typed objects.
 *
 * Prices and sizes are exact decimal text (also where MessagePack carried mantissas), with their exact values in levels.
 * Times are microseconds since the Unix epoch; an `epoch` is decimal text (nanoseconds do not fit a number).
 */
import type { Decimal } from './decimal.ts';
import { ProtocolError } from './errors.ts';
import { asFields, asList, boolean, decimal, number, numberOrNull, scaled, text, textOrNull, type Fields } from './fields.ts';

export type Channel = 'book' | 'l2' | 'bbo' | 'trades' | 'candles' | 'stats' | 'arbitrage' | 'alerts' | 'status';

/** A price level; in a delta a size of zero deletes it. */
export interface Level {
  readonly price: string;
  readonly size: string;
  readonly exactPrice: Decimal;
  readonly exactSize: Decimal;
}

interface OfInstrument {
  readonly venue: string;
  readonly symbol: string;
}

/** Why the gateway says that a book is not valid; later versions may add reasons. */
export type BookFault = 'no_book' | 'invalid' | 'stale';

/** Replaces everything; without levels and with a reason if the book is not valid. */
export interface BookSnapshot extends OfInstrument {
  readonly type: 'snapshot';
  readonly channel: 'book' | 'l2';
  readonly epoch: string;
  readonly sequence: number;
  /** When the book was last known to be what the venue shows. */
  readonly time: number;
  readonly valid: boolean;
  readonly reason: BookFault | null;
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
  readonly checksum: number | null;
}

/** Levels that changed since `previousSequence` of the same epoch. */
export interface BookDelta extends OfInstrument {
  readonly type: 'delta';
  readonly channel: 'book' | 'l2';
  readonly epoch: string;
  readonly previousSequence: number;
  readonly sequence: number;
  readonly time: number;
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
  readonly checksum: number | null;
}

/** Best bid and offer; null where a side is empty or the book is not valid. */
export interface Bbo extends OfInstrument {
  readonly type: 'bbo';
  readonly channel: 'bbo';
  readonly epoch: string;
  readonly sequence: number;
  readonly time: number;
  readonly valid: boolean;
  readonly reason: BookFault | null;
  readonly bid: Level | null;
  readonly ask: Level | null;
}

export type Side = 'buy' | 'sell' | 'unknown';

export interface Trade {
  readonly id: string;
  /** What the aggressor did. */
  readonly side: Side;
  readonly price: string;
  readonly size: string;
  /** The venue's time if it gives one. */
  readonly time: number;
  readonly receivedTime: number | null;
}

/** The latest trades, newest last; `gap`: trades before them were left out. */
export interface TradesSnapshot extends OfInstrument {
  readonly type: 'snapshot';
  readonly channel: 'trades';
  readonly trades: readonly Trade[];
  readonly gap: boolean;
}

/** New trades, newest last. */
export interface Trades extends OfInstrument {
  readonly type: 'trades';
  readonly channel: 'trades';
  readonly trades: readonly Trade[];
}

/** `interval` in seconds. The highest `revision` of an `openTime` is the current one. */
export interface Candle extends OfInstrument {
  readonly type: 'candle';
  readonly channel: 'candles';
  readonly interval: number;
  readonly openTime: number;
  readonly open: string;
  readonly high: string;
  readonly low: string;
  readonly close: string;
  readonly volume: string;
  readonly quoteVolume: string;
  readonly vwap: string;
  readonly trades: number;
  readonly revision: number;
  readonly partial: boolean;
}

/** One window of a book. Latencies in microseconds, null where the venue gives no times. */
export interface Stats extends OfInstrument {
  readonly type: 'stats';
  readonly channel: 'stats';
  readonly windowStart: number;
  readonly windowEnd: number;
  readonly epoch: string;
  readonly sequence: number;
  readonly valid: boolean;
  readonly snapshots: number;
  readonly deltas: number;
  readonly levelChanges: number;
  readonly levelsAdded: number;
  readonly levelsUpdated: number;
  readonly levelsRemoved: number;
  readonly trades: number;
  readonly bidLevels: number;
  readonly askLevels: number;
  readonly bestBid: string | null;
  readonly bestAsk: string | null;
  readonly latencyMax: number | null;
  readonly latencyMean: number | null;
}

export type OpportunityState = 'opened' | 'changed' | 'closed';

export interface OpportunityFields {
  readonly id: string;
  readonly state: OpportunityState;
  readonly symbol: string;
  readonly buyVenue: string;
  readonly sellVenue: string;
  readonly buyPrice: string;
  readonly sellPrice: string;
  readonly buyLimitPrice: string;
  readonly sellLimitPrice: string;
  readonly size: string;
  readonly grossProfit: string;
  /** Quote currency, after both taker fees. */
  readonly netProfit: string;
  readonly netBasisPoints: number;
  readonly openedTime: number;
  readonly updatedTime: number;
  readonly closeReason: string | null;
}

export interface Opportunity {
  readonly type: 'opportunity';
  readonly channel: 'arbitrage';
  readonly venue: null;
  readonly symbol: string;
  readonly opportunity: OpportunityFields;
}

/** The open ones; replaces what was open. */
export interface OpportunitiesSnapshot {
  readonly type: 'snapshot';
  readonly channel: 'arbitrage';
  readonly venue: null;
  readonly symbol: string;
  readonly opportunities: readonly OpportunityFields[];
}

export interface AlertFields {
  readonly time: number;
  readonly service: string;
  readonly venue: string | null;
  readonly symbol: string | null;
  readonly kind: string;
  readonly severity: string;
  readonly detail: unknown;
}

export interface Alert {
  readonly type: 'alert';
  readonly channel: 'alerts';
  readonly venue: string | null;
  readonly symbol: null;
  readonly alert: AlertFields;
}

export interface AlertsSnapshot {
  readonly type: 'snapshot';
  readonly channel: 'alerts';
  readonly venue: string | null;
  readonly symbol: null;
  readonly alerts: readonly AlertFields[];
  readonly gap: boolean;
}

/** Of a venue, or of a `service` (then without `venue`). */
export interface Status {
  readonly type: 'status';
  readonly channel: 'status';
  readonly venue: string | null;
  readonly symbol: null;
  readonly service: string | null;
  readonly status: string;
  readonly time: number;
  readonly validBooks: number | null;
  readonly staleBooks: number | null;
  readonly invalidBooks: number | null;
  readonly bookAgeMs: number | null;
  readonly lagRecords: number | null;
  readonly lagSeconds: number | null;
}

/**
 * not_recovered: after a reconnection. sequence: a delta did not follow. checksum: the book is not the gateway's.
 * unreadable: a message broke the protocol. dropped: the gateway left messages out, because we read too slowly. overflow:
 * the user was too slow, and the socket cannot be paused. forbidden: the latest credentials do not cover it.
 */
export type GapReason = 'not_recovered' | 'sequence' | 'checksum' | 'unreadable' | 'dropped' | 'overflow' | 'forbidden';

/** Made by the client: messages of this feed may be missing before what follows. Of a book a snapshot follows. */
export interface Gap {
  readonly type: 'gap';
  readonly channel: Channel;
  readonly venue: string | null;
  readonly symbol: string | null;
  readonly reason: GapReason;
}

export type GatewayMessage =
  | BookSnapshot
  | BookDelta
  | Bbo
  | TradesSnapshot
  | Trades
  | Candle
  | Stats
  | Opportunity
  | OpportunitiesSnapshot
  | Alert
  | AlertsSnapshot
  | Status;

export type FeedMessage = GatewayMessage | Gap;

/** Channel, venue and symbol of a message's feed, as far as it tells them. */
export interface FeedName {
  readonly channel: Channel;
  readonly venue: string | null;
  readonly symbol: string | null;
}

/** Channels whose feeds are venues; an alert may name a symbol all the same. */
export const WITHOUT_SYMBOL: ReadonlySet<string> = new Set(['alerts', 'status']);

export function feedOf(from: Fields): FeedName {
  const channel = text(from, 'channel') as Channel;
  const venue = from['venue'];
  const symbol = from['symbol'];
  return {
    channel,
    venue: typeof venue === 'string' ? venue : null,
    symbol: typeof symbol === 'string' && !WITHOUT_SYMBOL.has(channel) ? symbol : null,
  };
}

function levelOf(price: readonly [string, Decimal], size: readonly [string, Decimal]): Level {
  return { price: price[0], size: size[0], exactPrice: price[1], exactSize: size[1] };
}

/** Pairs of text, or a flat list of mantissas if the message has exponents. */
function levels(from: Fields, name: string): readonly Level[] {
  const list = asList(from[name], name);
  if (from['price_exponent'] === undefined) {
    return list.map((entry) => {
      const pair = asList(entry, name);
      return levelOf(decimal(pair[0], `${name} price`), decimal(pair[1], `${name} size`));
    });
  }
  if (list.length % 2 === 1) throw new ProtocolError(`${name}: ${list.length} integers, expected pairs`);
  const priceExponent = number(from, 'price_exponent');
  const sizeExponent = number(from, 'size_exponent');
  const found: Level[] = [];
  for (let at = 0; at < list.length; at += 2) {
    found.push(levelOf(scaled(list[at], priceExponent, `${name} price`), scaled(list[at + 1], sizeExponent, `${name} size`)));
  }
  return found;
}

function best(from: Fields, name: string): Level | null {
  if (from[name] === null) return null;
  const [price, size] = asList(from[name], name);
  if (from['price_exponent'] === undefined) return levelOf(decimal(price, name), decimal(size, name));
  return levelOf(scaled(price, number(from, 'price_exponent'), name), scaled(size, number(from, 'size_exponent'), name));
}

function instrument(from: Fields): OfInstrument {
  return { venue: text(from, 'venue'), symbol: text(from, 'symbol') };
}

function standing(from: Fields): { valid: boolean; reason: BookFault | null } {
  const valid = boolean(from, 'valid');
  const reason = from['reason'];
  if (valid) return { valid, reason: null };
  // A reason of a later version: the book is not to be used, whatever it is.
  return { valid, reason: reason === 'no_book' || reason === 'stale' ? reason : 'invalid' };
}

function bookNumbers(from: Fields): { epoch: string; sequence: number; time: number } {
  return { epoch: text(from, 'epoch'), sequence: number(from, 'sequence'), time: number(from, 'time') };
}

function bookSnapshot(from: Fields, channel: 'book' | 'l2'): BookSnapshot {
  return {
    type: 'snapshot',
    channel,
    ...instrument(from),
    ...bookNumbers(from),
    ...standing(from),
    bids: levels(from, 'bids'),
    asks: levels(from, 'asks'),
    checksum: numberOrNull(from, 'checksum'),
  };
}

function bookDelta(from: Fields, channel: 'book' | 'l2'): BookDelta {
  return {
    type: 'delta',
    channel,
    ...instrument(from),
    ...bookNumbers(from),
    previousSequence: number(from, 'previous_sequence'),
    bids: levels(from, 'bids'),
    asks: levels(from, 'asks'),
    checksum: numberOrNull(from, 'checksum'),
  };
}

function bbo(from: Fields): Bbo {
  const sides = { bid: best(from, 'bid'), ask: best(from, 'ask') };
  return { type: 'bbo', channel: 'bbo', ...instrument(from), ...bookNumbers(from), ...standing(from), ...sides };
}

function trades(from: Fields): readonly Trade[] {
  return asList(from['trades'], 'trades').map((entry) => {
    const trade = asFields(entry, 'trades');
    const side = text(trade, 'side');
    return {
      id: text(trade, 'id'),
      side: side === 'buy' || side === 'sell' ? side : 'unknown',
      price: decimal(trade['price'], 'price')[0],
      size: decimal(trade['size'], 'size')[0],
      time: number(trade, 'time'),
      receivedTime: numberOrNull(trade, 'received_time'),
    };
  });
}

function candle(from: Fields): Candle {
  return {
    type: 'candle',
    channel: 'candles',
    ...instrument(from),
    interval: number(from, 'interval'),
    openTime: number(from, 'open_time'),
    open: text(from, 'open'),
    high: text(from, 'high'),
    low: text(from, 'low'),
    close: text(from, 'close'),
    volume: text(from, 'volume'),
    quoteVolume: text(from, 'quote_volume'),
    vwap: text(from, 'vwap'),
    trades: number(from, 'trades'),
    revision: number(from, 'revision'),
    partial: boolean(from, 'partial'),
  };
}

function stats(from: Fields): Stats {
  return {
    type: 'stats',
    channel: 'stats',
    ...instrument(from),
    windowStart: number(from, 'window_start'),
    windowEnd: number(from, 'window_end'),
    epoch: text(from, 'epoch'),
    sequence: number(from, 'sequence'),
    valid: boolean(from, 'valid'),
    snapshots: number(from, 'snapshots'),
    deltas: number(from, 'deltas'),
    levelChanges: number(from, 'level_changes'),
    levelsAdded: number(from, 'levels_added'),
    levelsUpdated: number(from, 'levels_updated'),
    levelsRemoved: number(from, 'levels_removed'),
    trades: number(from, 'trades'),
    bidLevels: number(from, 'bid_levels'),
    askLevels: number(from, 'ask_levels'),
    bestBid: textOrNull(from, 'best_bid'),
    bestAsk: textOrNull(from, 'best_ask'),
    latencyMax: numberOrNull(from, 'latency_max'),
    latencyMean: numberOrNull(from, 'latency_mean'),
  };
}

/** Also what /api/v1/arbitrage/opportunities lists. */
export function opportunity(from: Fields): OpportunityFields {
  const state = text(from, 'state');
  if (state !== 'opened' && state !== 'changed' && state !== 'closed') {
    throw new ProtocolError(`state: expected opened, changed or closed, got ${JSON.stringify(state)}`);
  }
  return {
    id: text(from, 'opportunity_id'),
    state,
    symbol: text(from, 'symbol'),
    buyVenue: text(from, 'buy_venue'),
    sellVenue: text(from, 'sell_venue'),
    buyPrice: decimal(from['buy_price'], 'buy_price')[0],
    sellPrice: decimal(from['sell_price'], 'sell_price')[0],
    buyLimitPrice: decimal(from['buy_limit_price'], 'buy_limit_price')[0],
    sellLimitPrice: decimal(from['sell_limit_price'], 'sell_limit_price')[0],
    size: decimal(from['size'], 'size')[0],
    grossProfit: decimal(from['gross_profit'], 'gross_profit')[0],
    netProfit: decimal(from['net_profit'], 'net_profit')[0],
    netBasisPoints: number(from, 'net_basis_points'),
    openedTime: number(from, 'opened_time'),
    updatedTime: number(from, 'updated_time'),
    closeReason: textOrNull(from, 'close_reason'),
  };
}

function alert(from: Fields): AlertFields {
  return {
    time: number(from, 'time'),
    service: text(from, 'service'),
    venue: textOrNull(from, 'venue'),
    symbol: textOrNull(from, 'symbol'),
    kind: text(from, 'kind'),
    severity: text(from, 'severity'),
    detail: from['detail'] ?? null,
  };
}

function status(from: Fields): Status {
  return {
    type: 'status',
    channel: 'status',
    venue: textOrNull(from, 'venue'),
    symbol: null,
    service: textOrNull(from, 'service'),
    status: text(from, 'status'),
    time: number(from, 'time'),
    validBooks: numberOrNull(from, 'valid_books'),
    staleBooks: numberOrNull(from, 'stale_books'),
    invalidBooks: numberOrNull(from, 'invalid_books'),
    bookAgeMs: numberOrNull(from, 'book_age_ms'),
    lagRecords: numberOrNull(from, 'lag_records'),
    lagSeconds: numberOrNull(from, 'lag_seconds'),
  };
}

/** The message of a feed in `from`; null if this version of the client does not know it. Throws ProtocolError. */
export function read(from: Fields): GatewayMessage | null {
  const { channel, venue } = feedOf(from);
  switch (`${text(from, 'type')} ${channel}`) {
    case 'snapshot book':
    case 'snapshot l2':
      return bookSnapshot(from, channel as 'book' | 'l2');
    case 'delta book':
    case 'delta l2':
      return bookDelta(from, channel as 'book' | 'l2');
    case 'bbo bbo':
      return bbo(from);
    case 'snapshot trades':
      return { type: 'snapshot', channel: 'trades', ...instrument(from), trades: trades(from), gap: from['gap'] === true };
    case 'trades trades':
      return { type: 'trades', channel: 'trades', ...instrument(from), trades: trades(from) };
    case 'candle candles':
      return candle(from);
    case 'stats stats':
      return stats(from);
    case 'opportunity arbitrage':
      return {
        type: 'opportunity',
        channel: 'arbitrage',
        venue: null,
        symbol: text(from, 'symbol'),
        opportunity: opportunity(from),
      };
    case 'snapshot arbitrage':
      return {
        type: 'snapshot',
        channel: 'arbitrage',
        venue: null,
        symbol: text(from, 'symbol'),
        opportunities: asList(from['opportunities'], 'opportunities').map((each) => opportunity(asFields(each, 'opportunities'))),
      };
    case 'alert alerts':
      return { type: 'alert', channel: 'alerts', venue, symbol: null, alert: alert(from) };
    case 'snapshot alerts':
      return {
        type: 'snapshot',
        channel: 'alerts',
        venue,
        symbol: null,
        alerts: asList(from['alerts'], 'alerts').map((each) => alert(asFields(each, 'alerts'))),
        gap: from['gap'] === true,
      };
    case 'status status':
      return status(from);
    default:
      return null;
  }
}
