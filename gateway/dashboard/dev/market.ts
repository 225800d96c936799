/**
 * A seeded market over several venues, for developing the page without the rest of AlphaPulse.
 *
 * One fair price per symbol walks at random; each venue follows it late and with an error of its own, so that books
 * cross after fees now and then. Prices and sizes are integers (mantissas) until they are written as decimal text.
 */
import { formatDecimal } from '@alphapulse/client';

export const VENUES = ['binance', 'coinbase', 'kraken'] as const;
export const LEVELS = 20;

const SIZE_DECIMALS = 4;

export interface SymbolSpec {
  readonly symbol: string;
  readonly start: number;
  readonly decimals: number;
  /** Distance of neighbouring levels, as a mantissa. */
  readonly step: number;
}

export const SYMBOLS: readonly SymbolSpec[] = [
  { symbol: 'BTC-USD', start: 6168599, decimals: 2, step: 25 },
  { symbol: 'ETH-USD', start: 264310, decimals: 2, step: 4 },
  { symbol: 'SOL-USD', start: 15234, decimals: 2, step: 1 },
];

/** Price mantissa to size mantissa. */
export type Side = Map<number, number>;

export interface VenueBook {
  readonly venue: string;
  readonly spec: SymbolSpec;
  mid: number;
  bias: number;
  bids: Side;
  asks: Side;
}

export interface Print {
  readonly id: string;
  readonly side: 'buy' | 'sell';
  readonly price: string;
  readonly size: string;
}

/** mulberry32: small, seeded, good enough for scenery. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

export function decimalText(mantissa: number, decimals: number): string {
  return formatDecimal({ mantissa: BigInt(mantissa), scale: decimals });
}

export const sizeText = (mantissa: number): string => (mantissa === 0 ? '0' : decimalText(mantissa, SIZE_DECIMALS));

export class Market {
  readonly books: readonly VenueBook[];
  readonly #random: () => number;
  readonly #fair = new Map<string, number>();
  #nextTrade = 1;

  constructor(seed = 7) {
    this.#random = randomFrom(seed);
    for (const spec of SYMBOLS) this.#fair.set(spec.symbol, spec.start);
    this.books = SYMBOLS.flatMap((spec) =>
      VENUES.map((venue): VenueBook => {
        const book = { venue, spec, mid: spec.start, bias: 0, bids: new Map(), asks: new Map() };
        this.#rebuild(book);
        return book;
      }),
    );
  }

  book(venue: string, symbol: string): VenueBook | undefined {
    return this.books.find((book) => book.venue === venue && book.spec.symbol === symbol);
  }

  /** Moves every fair price one step. */
  drift(): void {
    for (const [symbol, fair] of this.#fair) this.#fair.set(symbol, fair * (1 + this.#normal() * 0.000012));
  }

  /** Moves one book after its fair price and returns what changed in its best levels. */
  move(book: VenueBook): { bids: [string, string][]; asks: [string, string][] } {
    const { bids, asks } = book;
    const fair = this.#fair.get(book.spec.symbol) ?? book.mid;
    book.bias = book.bias * 0.97 + this.#normal() * fair * 0.000022;
    book.mid += (fair + book.bias - book.mid) * 0.35;
    this.#rebuild(book);
    return {
      bids: this.#difference(bids, book.bids, book.spec.decimals),
      asks: this.#difference(asks, book.asks, book.spec.decimals),
    };
  }

  trade(book: VenueBook): Print {
    const side = this.#random() < 0.5 ? 'buy' : 'sell';
    const price = side === 'buy' ? Math.min(...book.asks.keys()) : Math.max(...book.bids.keys());
    return {
      id: String(this.#nextTrade++),
      side,
      price: decimalText(price, book.spec.decimals),
      size: sizeText(Math.ceil(this.#random() ** 4 * 20_000)),
    };
  }

  #normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#random())) * Math.cos(2 * Math.PI * this.#random());
  }

  /** Levels on a grid; those that stay keep their size, except for a few that change. */
  #rebuild(book: VenueBook): void {
    const { step } = book.spec;
    const bid = Math.floor((book.mid - step * 0.3) / step) * step;
    const ask = Math.max(bid + step, Math.ceil((book.mid + step * 0.3) / step) * step);
    const bids: Side = new Map();
    const asks: Side = new Map();
    for (let level = 0; level < LEVELS; level += 1) {
      this.#place(bids, bid - level * step, level, book.bids);
      this.#place(asks, ask + level * step, level, book.asks);
    }
    book.bids = bids;
    book.asks = asks;
  }

  #place(side: Side, price: number, level: number, before: Side): void {
    const kept = this.#random() < 0.06 ? undefined : before.get(price);
    side.set(price, kept ?? Math.ceil((this.#random() ** 2 * 3 + 0.02 + level * 0.08) * 10 ** SIZE_DECIMALS));
  }

  #difference(before: Side, after: Side, decimals: number): [string, string][] {
    const changes: [string, string][] = [];
    for (const [price, size] of after) {
      if (before.get(price) !== size) changes.push([decimalText(price, decimals), sizeText(size)]);
    }
    for (const price of before.keys()) {
      if (!after.has(price)) changes.push([decimalText(price, decimals), '0']);
    }
    return changes;
  }
}

export function levelsText(side: Side, decimals: number): [string, string][] {
  return [...side].map(([price, size]) => [decimalText(price, decimals), sizeText(size)]);
}
