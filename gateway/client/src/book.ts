/** An order book kept from snapshots and deltas: exact, ordered, and marked when it is not to be trusted. */
import { checksum } from './checksum.ts';
import { compare, isZero, type Decimal } from './decimal.ts';
import type { BookDelta, BookFault, BookSnapshot, GapReason, Level } from './messages.ts';

/** applied: the book moved. ignored: it waits for a snapshot. sequence, checksum: it is wrong, subscribe again. */
export type Outcome = 'applied' | 'ignored' | 'sequence' | 'checksum';

/** Why a book is not valid: see `Book`. */
export type BookReason = 'waiting' | 'disconnected' | BookFault | GapReason;

/** Best first; `direction` is 1 for asks (ascending) and -1 for bids. */
class BookSide {
  readonly levels: Level[] = [];
  readonly #direction: 1 | -1;

  constructor(direction: 1 | -1) {
    this.#direction = direction;
  }

  clear(): void {
    this.levels.length = 0;
  }

  change(level: Level): void {
    const at = this.#search(level.exactPrice);
    const found = this.levels[at];
    const present = found !== undefined && compare(found.exactPrice, level.exactPrice) === 0;
    if (isZero(level.exactSize)) {
      if (present) this.levels.splice(at, 1);
      return;
    }
    this.levels.splice(at, present ? 1 : 0, level);
  }

  /** Index of the first level that is not better than `price`. */
  #search(price: Decimal): number {
    let low = 0;
    let high = this.levels.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const level = this.levels[middle];
      if (level && compare(level.exactPrice, price) * this.#direction < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export interface BookClock {
  /** The gateway's clock, microseconds; null while unknown. */
  readonly gatewayTime: () => number | null;
  /** Microseconds after which a book is stale; null while unknown. */
  readonly maxAge: () => number | null;
}

/**
 * A book of one venue and symbol, in step with the gateway or marked as not valid.
 *
 * Only while `valid` are the levels current; else they are the last known, or none, and `reason` says why: waiting (no
 * snapshot yet), no_book, invalid (the gateway says so), stale (its time is too long ago, by the gateway or by our own
 * watch), the reason of a gap (a snapshot was asked for), disconnected.
 */
export class Book {
  readonly venue: string;
  readonly symbol: string;
  readonly #clock: BookClock;
  readonly #bids = new BookSide(-1);
  readonly #asks = new BookSide(1);
  #fault: BookReason | null = 'waiting';
  #before: BookReason | null = 'waiting';
  #epoch = '';
  #sequence = -1;
  #time = 0;

  constructor(venue: string, symbol: string, clock: BookClock) {
    this.venue = venue;
    this.symbol = symbol;
    this.#clock = clock;
  }

  /** Best first. */
  get bids(): readonly Level[] {
    return this.#bids.levels;
  }

  /** Best first. */
  get asks(): readonly Level[] {
    return this.#asks.levels;
  }

  get bestBid(): Level | null {
    return this.#bids.levels[0] ?? null;
  }

  get bestAsk(): Level | null {
    return this.#asks.levels[0] ?? null;
  }

  /** One uninterrupted life of the book at its collector; empty before the first message. */
  get epoch(): string {
    return this.#epoch;
  }

  /** Of the last update in the book; -1 before the first message. */
  get sequence(): number {
    return this.#sequence;
  }

  /** When it was last known to be what the venue shows, microseconds; 0 before the first message. */
  get time(): number {
    return this.#time;
  }

  /** Microseconds since `time` by the gateway's clock; null while either is unknown. */
  get age(): number | null {
    const now = this.#clock.gatewayTime();
    return now === null || this.#time === 0 ? null : Math.max(0, now - this.#time);
  }

  /** Why the book is not valid; null if it is. */
  get reason(): BookReason | null {
    if (this.#fault !== null) return this.#fault;
    const age = this.age;
    const most = this.#clock.maxAge();
    return age !== null && most !== null && age > most ? 'stale' : null;
  }

  /** In step with the gateway and not too old. */
  get valid(): boolean {
    return this.reason === null;
  }

  /** Whether the next delta can be applied: valid but for its age. */
  get inStep(): boolean {
    return this.#fault === null;
  }

  /**
   * Applies a snapshot always, a delta only to the very book that it builds on; verifies the checksum, if any. After
   * `sequence` or `checksum` deltas are ignored until a snapshot comes.
   */
  apply(message: BookSnapshot | BookDelta): Outcome {
    if (message.type === 'delta') {
      if (this.#fault !== null) {
        // After an invalid book only a snapshot can follow; while one is awaited, older deltas still arrive.
        return ['no_book', 'invalid', 'stale'].includes(this.#fault) ? this.#wrong('sequence') : 'ignored';
      }
      if (message.epoch !== this.#epoch || message.previousSequence !== this.#sequence) return this.#wrong('sequence');
    } else {
      // The last levels of a stale book stay in sight: it comes without any.
      if (message.reason !== 'stale') {
        this.#bids.clear();
        this.#asks.clear();
      }
      this.#fault = message.reason;
    }
    this.#epoch = message.epoch;
    this.#sequence = message.sequence;
    this.#time = message.time;
    for (const level of message.bids) this.#bids.change(level);
    for (const level of message.asks) this.#asks.change(level);
    if (message.checksum !== null && this.#fault === null && checksum(this.bids, this.asks) !== message.checksum) {
      return this.#wrong('checksum');
    }
    return 'applied';
  }

  /** Marks the book as not valid until a snapshot comes. */
  doubt(reason: GapReason): void {
    this.#fault = reason;
  }

  /** The connection is gone: the levels stay, for the gateway may continue exactly here. */
  disconnected(): void {
    if (this.#fault === 'disconnected') return;
    this.#before = this.#fault;
    this.#fault = 'disconnected';
  }

  /** The gateway continues where the connection was lost: the book is what it was. */
  continued(): void {
    if (this.#fault === 'disconnected') this.#fault = this.#before;
  }

  #wrong(outcome: 'sequence' | 'checksum'): Outcome {
    this.#fault = outcome;
    return outcome;
  }
}
