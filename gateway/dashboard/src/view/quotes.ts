/** The best bids and asks of one symbol, all venues side by side. */
import { basisPoints, compare, formatDecimal, midpoint, subtract, type Decimal } from '@alphapulse/client';
import type { Ladder, Quote } from './ladder.ts';

export interface VenueQuote {
  readonly venue: string;
  readonly ladder: Ladder;
  /** Nobody bids more, nobody asks less; only valid books take part. */
  readonly isBestBid: boolean;
  readonly isBestAsk: boolean;
}

/** The best bid and the best ask of all venues together. */
export interface Consolidated {
  readonly bidVenue: string;
  readonly askVenue: string;
  readonly bid: string;
  readonly ask: string;
  /** Ask minus bid; negative when one venue bids more than another asks. */
  readonly spread: string;
  readonly spreadBasisPoints: string;
  readonly crossed: boolean;
}

export interface QuotesPicture {
  readonly rows: readonly VenueQuote[];
  readonly consolidated: Consolidated | null;
  readonly priceDecimals: number;
  readonly sizeDecimals: number;
}

interface Candidate {
  readonly venue: string;
  readonly quote: Quote;
}

function best(candidates: readonly Candidate[], direction: 1 | -1): Candidate | null {
  let found: Candidate | null = null;
  for (const candidate of candidates) {
    if (!found || compare(candidate.quote.exactPrice, found.quote.exactPrice) * direction > 0) found = candidate;
  }
  return found;
}

function equals(quote: Quote | null, price: Decimal | undefined): boolean {
  return quote !== null && price !== undefined && compare(quote.exactPrice, price) === 0;
}

function consolidate(bid: Candidate | null, ask: Candidate | null): Consolidated | null {
  if (!bid || !ask) return null;
  const spread = subtract(ask.quote.exactPrice, bid.quote.exactPrice);
  return {
    bidVenue: bid.venue,
    askVenue: ask.venue,
    bid: bid.quote.price,
    ask: ask.quote.price,
    spread: formatDecimal(spread),
    spreadBasisPoints: basisPoints(spread, midpoint(bid.quote.exactPrice, ask.quote.exactPrice)) ?? '0.00',
    crossed: spread.mantissa < 0n,
  };
}

export function quotesOf(ladders: readonly (readonly [venue: string, ladder: Ladder])[]): QuotesPicture {
  const bids: Candidate[] = [];
  const asks: Candidate[] = [];
  for (const [venue, ladder] of ladders) {
    if (ladder.status !== 'valid') continue;
    if (ladder.bestBid) bids.push({ venue, quote: ladder.bestBid });
    if (ladder.bestAsk) asks.push({ venue, quote: ladder.bestAsk });
  }
  const bestBid = best(bids, 1);
  const bestAsk = best(asks, -1);
  return {
    rows: ladders.map(([venue, ladder]) => ({
      venue,
      ladder,
      isBestBid: ladder.status === 'valid' && equals(ladder.bestBid, bestBid?.quote.exactPrice),
      isBestAsk: ladder.status === 'valid' && equals(ladder.bestAsk, bestAsk?.quote.exactPrice),
    })),
    consolidated: consolidate(bestBid, bestAsk),
    priceDecimals: Math.max(0, ...ladders.map(([, { priceDecimals }]) => priceDecimals)),
    sizeDecimals: Math.max(0, ...ladders.map(([, { sizeDecimals }]) => sizeDecimals)),
  };
}
