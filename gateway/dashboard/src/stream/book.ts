/** An order book kept from snapshots and deltas: exact, ordered, and honest about doubt. */
import { compare, isZero, type Decimal } from './decimal.ts';
import type { BookMessage, Level } from './protocol.ts';

/**
 * awaiting: nothing yet, or a gap was seen. valid: in step with the server, and young. stale: nobody has confirmed it for
 * too long. invalid: the server itself has no valid book. Only the levels of a valid book are current; those of an awaiting
 * or stale one are the last known.
 */
export type BookStatus = 'awaiting' | 'valid' | 'stale' | 'invalid';

/** applied: the book moved. ignored: it waits for a snapshot. gap: a delta is missing, subscribe again. */
export type Outcome = 'applied' | 'ignored' | 'gap';

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

export class Book {
  readonly #bids = new BookSide(-1);
  readonly #asks = new BookSide(1);
  /** What the server said last, as far as it can be followed. */
  #standing: BookStatus = 'awaiting';
  /** Whether the time of the book is too long ago by the page's own watch. */
  #old = false;
  #epoch = '';
  #sequence = -1;
  #time = 0;

  get status(): BookStatus {
    return this.#standing === 'valid' && this.#old ? 'stale' : this.#standing;
  }

  /** Best first. */
  get bids(): readonly Level[] {
    return this.#bids.levels;
  }

  /** Best first. */
  get asks(): readonly Level[] {
    return this.#asks.levels;
  }

  /** When it was last known to be what the venue shows, microseconds; 0 before the first message. */
  get time(): number {
    return this.#time;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /**
   * Applies a snapshot always, and a delta only to the very book that it builds on. After a gap the book is `awaiting`
   * and ignores deltas until a snapshot comes; so does one that is not valid.
   */
  apply(message: BookMessage): Outcome {
    if (message.type === 'delta') {
      if (this.#standing === 'awaiting') return 'ignored';
      const follows = message.epoch === this.#epoch && message.previousSequence === this.#sequence;
      if (this.#standing !== 'valid' || !follows) {
        this.#standing = 'awaiting';
        return 'gap';
      }
    } else if (message.reason !== 'stale') {
      // The last levels of a stale book stay in sight, marked as what they are.
      this.#bids.clear();
      this.#asks.clear();
    }
    this.#epoch = message.epoch;
    this.#sequence = message.sequence;
    this.#time = message.time;
    if (!message.valid) {
      this.#standing = message.reason === 'stale' ? 'stale' : 'invalid';
      return 'applied';
    }
    this.#standing = 'valid';
    for (const change of message.bids) this.#bids.change(change);
    for (const change of message.asks) this.#asks.change(change);
    return 'applied';
  }

  /** Notes whether its time is too long ago; returns whether that changes its status. A gateway that is silent tells nothing. */
  judge(serverTime: number, maxAge: number): boolean {
    const before = this.status;
    this.#old = serverTime - this.#time > maxAge;
    return this.status !== before;
  }

  /** The connection is gone or a new subscription was asked for: what is held is no longer current. */
  distrust(): void {
    this.#standing = 'awaiting';
  }
}
