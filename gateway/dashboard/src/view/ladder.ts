/** What the order book panel shows of a book: an immutable picture, made once per frame. */
import {
  add,
  basisPoints,
  compare,
  decimalsOf,
  formatDecimal,
  midpoint,
  significantDecimals,
  subtract,
  toRatio,
  ZERO,
  type Book,
  type Decimal,
  type Level,
} from '@alphapulse/client';

import { statusOf, type BookStatus } from '../stream/status.ts';

export const LADDER_LEVELS = 20;

export interface Rung {
  readonly price: string;
  readonly size: string;
  /** Sum of the sizes from the best level to this one, exact. */
  readonly total: string;
  /** 0…1 of the deeper side's whole depth. */
  readonly depth: number;
}

export interface Quote {
  readonly price: string;
  readonly size: string;
  readonly exactPrice: Decimal;
}

export interface Ladder {
  readonly status: BookStatus;
  /** When the book was last known to be what the venue shows, microseconds; 0 before the first message. */
  readonly time: number;
  /** Best first, at most LADDER_LEVELS. */
  readonly bids: readonly Rung[];
  readonly asks: readonly Rung[];
  readonly bestBid: Quote | null;
  readonly bestAsk: Quote | null;
  readonly mid: Decimal | null;
  readonly midText: string | null;
  /** Where the mid went when it last moved. */
  readonly direction: 'up' | 'down' | 'none';
  readonly spread: string | null;
  readonly spreadBasisPoints: string | null;
  readonly crossed: boolean;
  /** The bids' part of the depth shown, 0…1; null without both sides. */
  readonly bidShare: number | null;
  /** Decimals that the shown prices and sizes need. */
  readonly priceDecimals: number;
  readonly sizeDecimals: number;
}

export const EMPTY_LADDER: Ladder = {
  status: 'awaiting',
  time: 0,
  bids: [],
  asks: [],
  bestBid: null,
  bestAsk: null,
  mid: null,
  midText: null,
  direction: 'none',
  spread: null,
  spreadBasisPoints: null,
  crossed: false,
  bidShare: null,
  priceDecimals: 0,
  sizeDecimals: 0,
};

interface Summed {
  readonly level: Level;
  readonly total: Decimal;
}

function summed(levels: readonly Level[]): Summed[] {
  let total = ZERO;
  return levels.slice(0, LADDER_LEVELS).map((level) => {
    total = add(total, level.exactSize);
    return { level, total };
  });
}

function rungs(sums: readonly Summed[], deepest: Decimal): Rung[] {
  return sums.map(({ level, total }) => ({
    price: level.price,
    size: level.size,
    total: formatDecimal(total),
    depth: toRatio(total, deepest),
  }));
}

function quote(level: Level | undefined): Quote | null {
  return level ? { price: level.price, size: level.size, exactPrice: level.exactPrice } : null;
}

function directionOf(mid: Decimal, before: Ladder): Ladder['direction'] {
  const moved = before.mid ? compare(mid, before.mid) : 0;
  return moved === 0 ? before.direction : moved > 0 ? 'up' : 'down';
}

/** `before` is the ladder shown until now, for the direction of the mid. */
export function ladderOf(book: Book | null, before: Ladder = EMPTY_LADDER): Ladder {
  if (!book) return EMPTY_LADDER;
  const bids = summed(book.bids);
  const asks = summed(book.asks);
  const bidDepth = bids.at(-1)?.total ?? ZERO;
  const askDepth = asks.at(-1)?.total ?? ZERO;
  const deepest = compare(bidDepth, askDepth) > 0 ? bidDepth : askDepth;
  const bestBid = quote(book.bids[0]);
  const bestAsk = quote(book.asks[0]);
  const shown = [...bids, ...asks].map(({ level }) => level);
  const picture = {
    status: statusOf(book),
    time: book.time,
    bids: rungs(bids, deepest),
    asks: rungs(asks, deepest),
    bestBid,
    bestAsk,
    priceDecimals: Math.max(0, ...shown.map(({ price }) => decimalsOf(price))),
    sizeDecimals: Math.max(0, ...shown.map(({ size }) => significantDecimals(size))),
  };
  // Of a book that is not current no mid, no spread and no cross can be told.
  if (!bestBid || !bestAsk || picture.status !== 'valid') {
    return { ...EMPTY_LADDER, ...picture };
  }
  const mid = midpoint(bestBid.exactPrice, bestAsk.exactPrice);
  const spread = subtract(bestAsk.exactPrice, bestBid.exactPrice);
  return {
    ...picture,
    mid,
    midText: formatDecimal(mid),
    direction: directionOf(mid, before),
    spread: formatDecimal(spread),
    spreadBasisPoints: basisPoints(spread, mid),
    crossed: spread.mantissa <= 0n,
    bidShare: toRatio(bidDepth, add(bidDepth, askDepth)),
  };
}
