/** An order book kept from snapshots and deltas: exact, ordered, and honest about doubt. */
import { compare, isZero, parseDecimal, type Decimal } from './decimal.ts';
import type { BookMessage, LevelChange } from './protocol.ts';

export interface Level {
  /** As the server wrote it. */
  readonly price: string;
  readonly size: string;
  readonly exactPrice: Decimal;
  readonly exactSize: Decimal;
}

/**
 * awaiting: nothing yet, or a gap was seen; the levels are the last known ones and are not current.
 * valid: in step with the server. invalid: the server itself has no valid book.
 */
export type BookStatus = 'awaiting' | 'valid' | 'invalid';

/** applied: the book moved. ignored: it waits for a snapshot. gap: a delta is missing, subscribe again. */
export type Outcome = 'applied' | 'ignored' | 'gap';

function exact(decimalText: string): Decimal {
  const value = parseDecimal(decimalText);
  // The protocol's reader has refused everything else.
  if (!value) throw new RangeError(`not decimal text: ${decimalText}`);
  return value;
}

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

  change([price, size]: LevelChange): void {
    const exactPrice = exact(price);
    const exactSize = exact(size);
    const at = this.#search(exactPrice);
    const found = this.levels[at];
    const present = found !== undefined && compare(found.exactPrice, exactPrice) === 0;
    if (isZero(exactSize)) {
      if (present) this.levels.splice(at, 1);
      return;
    }
    this.levels.splice(at, present ? 1 : 0, { price, size, exactPrice, exactSize });
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
  #status: BookStatus = 'awaiting';
  #epoch = '';
  #sequence = -1;
  #time = 0;

  get status(): BookStatus {
    return this.#status;
  }

  /** Best first. */
  get bids(): readonly Level[] {
    return this.#bids.levels;
  }

  /** Best first. */
  get asks(): readonly Level[] {
    return this.#asks.levels;
  }

  /** Of the last message applied, microseconds; 0 before the first. */
  get time(): number {
    return this.#time;
  }

  get sequence(): number {
    return this.#sequence;
  }

  /**
   * Applies a snapshot always, and a delta only when it is the very next one of the same epoch. After a gap the book
   * is `awaiting` and ignores deltas until a snapshot comes.
   */
  apply(message: BookMessage): Outcome {
    if (message.type === 'snapshot') {
      this.#bids.clear();
      this.#asks.clear();
    } else {
      if (this.#status === 'awaiting') return 'ignored';
      if (message.epoch !== this.#epoch || message.sequence !== this.#sequence + 1) {
        this.#status = 'awaiting';
        return 'gap';
      }
      if (this.#status === 'invalid') {
        this.#sequence = message.sequence;
        if (!message.valid) return 'ignored';
        // The sides were cleared: changes alone cannot make the book whole again.
        this.#status = 'awaiting';
        return 'gap';
      }
    }
    this.#epoch = message.epoch;
    this.#sequence = message.sequence;
    this.#time = message.time;
    this.#status = message.valid ? 'valid' : 'invalid';
    if (!message.valid) {
      this.#bids.clear();
      this.#asks.clear();
      return 'applied';
    }
    for (const change of message.bids) this.#bids.change(change);
    for (const change of message.asks) this.#asks.change(change);
    return 'applied';
  }

  /** The connection is gone or a new subscription was asked for: what is held is no longer current. */
  distrust(): void {
    this.#status = 'awaiting';
  }
}
