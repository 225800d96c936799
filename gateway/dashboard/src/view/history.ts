/** The last minutes of every venue's mid price, for the chart. Exact until the very pixel. */
import { between, compare, formatDecimal, subtract, toRatio, type Decimal } from '@alphapulse/client';

export interface Sample {
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** Mid by venue; a venue without a valid book is absent. */
  readonly mids: ReadonlyMap<string, Decimal>;
  /** Whether an arbitrage opportunity was open. */
  readonly arbitrage: boolean;
}

export class MidHistory {
  readonly #keepMs: number;
  readonly #samples: Sample[] = [];

  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  get samples(): readonly Sample[] {
    return this.#samples;
  }

  add(sample: Sample): void {
    this.#samples.push(sample);
    const old = this.#samples.findIndex(({ time }) => time > sample.time - this.#keepMs);
    if (old > 0) this.#samples.splice(0, old);
  }
}

export interface PriceRange {
  readonly low: Decimal;
  readonly high: Decimal;
}

/** The lowest and highest mid; null without any. */
export function rangeOf(samples: readonly Sample[]): PriceRange | null {
  let low: Decimal | null = null;
  let high: Decimal | null = null;
  for (const { mids } of samples) {
    for (const mid of mids.values()) {
      if (!low || compare(mid, low) < 0) low = mid;
      if (!high || compare(mid, high) > 0) high = mid;
    }
  }
  return low && high ? { low, high } : null;
}

/** Where a price stands in the range: 0 at the low end, 1 at the high end, ½ when all are equal. */
export function heightOf(price: Decimal, { low, high }: PriceRange): number {
  return compare(low, high) === 0 ? 0.5 : toRatio(subtract(price, low), subtract(high, low));
}

/** Labels at `count` even steps from low to high, with `decimals` decimals. */
export function labelsOf({ low, high }: PriceRange, count: number, decimals: number): string[] {
  return Array.from({ length: count }, (_, n) => formatDecimal(between(low, high, n, count - 1, decimals)));
}
