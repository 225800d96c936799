/** The latest trades of one instrument, in a ring buffer. */
import type { Trade } from '@alphapulse/client';

export class Tape {
  readonly capacity: number;
  readonly #ring: (Trade | undefined)[];
  readonly #ids = new Set<string>();
  #next = 0;
  #total = 0;

  constructor(capacity = 120) {
    this.capacity = capacity;
    this.#ring = new Array<Trade | undefined>(capacity);
  }

  /** Trades ever taken in, duplicates not counted. */
  get total(): number {
    return this.#total;
  }

  /** Adds trades, oldest first; one whose id is still held is a repetition and is left out. */
  push(trades: readonly Trade[]): void {
    for (const trade of trades) {
      if (this.#ids.has(trade.id)) continue;
      const evicted = this.#ring[this.#next];
      if (evicted) this.#ids.delete(evicted.id);
      this.#ring[this.#next] = trade;
      this.#ids.add(trade.id);
      this.#next = (this.#next + 1) % this.capacity;
      this.#total += 1;
    }
  }

  /** Starts over from a snapshot (newest last). */
  reset(trades: readonly Trade[]): void {
    this.#ring.fill(undefined);
    this.#ids.clear();
    this.#next = 0;
    this.push(trades);
  }

  /** The newest `count` trades, newest first. */
  newest(count: number): Trade[] {
    const found: Trade[] = [];
    for (let back = 1; back <= Math.min(count, this.capacity); back += 1) {
      const trade = this.#ring[(this.#next - back + this.capacity) % this.capacity];
      if (!trade) break;
      found.push(trade);
    }
    return found;
  }
}
