/**
 * The gateway's stream protocol, version 1: what each side says.
 *
 * Times are microseconds since the Unix epoch; prices and sizes are decimal text.
 */
import type { Decimal } from './decimal.ts';

export const PROTOCOL_VERSION = 1;

export type Channel = 'book' | 'trades' | 'arbitrage' | 'stats' | 'candles';

export interface Subscription {
  readonly channel: Channel;
  /** Absent for arbitrage. */
  readonly venue?: string;
  /** `*` (every symbol) is allowed for arbitrage. */
  readonly symbol: string;
}

export type ClientMessage =
  | ({ readonly op: 'subscribe' | 'unsubscribe'; readonly id: number } & Subscription)
  | { readonly op: 'ping'; readonly id: number };

/** A level of a book, as text and exact; in a delta a size of zero deletes it. */
export interface Level {
  /** As the server wrote it. */
  readonly price: string;
  readonly size: string;
  readonly exactPrice: Decimal;
  readonly exactSize: Decimal;
}

/** Why a book is not valid: none was seen yet, its collector doubts it, or nobody has confirmed it for too long. */
export type BookFault = 'no_book' | 'invalid' | 'stale';

export interface BookMessage {
  readonly type: 'snapshot' | 'delta';
  readonly channel: 'book';
  readonly venue: string;
  readonly symbol: string;
  readonly epoch: string;
  /** The book's own, of the last update in it. */
  readonly sequence: number;
  /** Of the book that a delta builds on; absent in a snapshot. */
  readonly previousSequence?: number;
  /** When the book was last known to be what the venue shows. */
  readonly time: number;
  readonly valid: boolean;
  /** Null of a valid book. */
  readonly reason: BookFault | null;
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
}

export type Side = 'buy' | 'sell' | 'unknown';

export interface Trade {
  readonly id: string;
  /** What the aggressor did. */
  readonly side: Side;
  readonly price: string;
  readonly size: string;
  readonly time: number;
}

export interface TradesMessage {
  readonly type: 'snapshot' | 'trades';
  readonly channel: 'trades';
  readonly venue: string;
  readonly symbol: string;
  /** Newest last. */
  readonly trades: readonly Trade[];
}

export type OpportunityState = 'opened' | 'changed' | 'closed';

export interface Opportunity {
  readonly id: string;
  readonly state: OpportunityState;
  readonly symbol: string;
  readonly buyVenue: string;
  readonly sellVenue: string;
  readonly buyPrice: string;
  readonly sellPrice: string;
  readonly size: string;
  /** Quote currency, after both taker fees. */
  readonly netProfit: string;
  readonly netBasisPoints: number;
  readonly openedTime: number;
  readonly updatedTime: number;
  readonly closeReason: string | null;
}

export interface ArbitrageSnapshot {
  readonly type: 'snapshot';
  readonly channel: 'arbitrage';
  readonly symbol: string;
  /** The open ones. */
  readonly opportunities: readonly Opportunity[];
}

export interface OpportunityMessage {
  readonly type: 'opportunity';
  readonly opportunity: Opportunity;
}

/** DeltaStatistics of the last window; only what this page shows. */
export interface StatsMessage {
  readonly type: 'stats';
  readonly venue: string;
  readonly symbol: string;
  readonly deltas: number;
  readonly levelChanges: number;
  readonly trades: number;
  readonly bidLevels: number;
  readonly askLevels: number;
  /** Received minus exchange time, microseconds; null where the venue gives no times. */
  readonly latencyMean: number | null;
}

export type ServerMessage =
  | {
      readonly type: 'hello';
      readonly version: number;
      readonly heartbeatMs: number;
      /** A book whose time is longer ago is stale. */
      readonly maxBookAgeMs: number;
      /** By the gateway's clock, microseconds. */
      readonly time: number;
    }
  | { readonly type: 'subscribed'; readonly id: number | null }
  | { readonly type: 'pong'; readonly id: number | null; readonly time: number }
  | { readonly type: 'error'; readonly id: number | null; readonly code: string; readonly message: string }
  | BookMessage
  | TradesMessage
  | ArbitrageSnapshot
  | OpportunityMessage
  | StatsMessage
  /** A type this page has no use for (heartbeat, candle, or one of a later version). */
  | { readonly type: 'other'; readonly name: string }
  /** Not what version 1 says; counted and shown, never fatal. */
  | { readonly type: 'unreadable'; readonly reason: string };

/** One name per subscription: `channel|venue|symbol`. */
export function topicOf(subscription: Subscription): string {
  return `${subscription.channel}|${subscription.venue ?? ''}|${subscription.symbol}`;
}
