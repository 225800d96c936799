/** What the trades panel shows. */
import { compare, decimalsOf, parseDecimal, significantDecimals, toRatio, ZERO, type Decimal } from '@alphapulse/client';
import type { Trade } from '@alphapulse/client';
import type { Tape } from '../stream/tape.ts';

export interface Print {
  readonly trade: Trade;
  /** Size against the largest shown, 0…1, square root so that small ones stay visible. */
  readonly weight: number;
}

export interface TapePicture {
  /** Newest first. */
  readonly prints: readonly Print[];
  readonly total: number;
  readonly priceDecimals: number;
  readonly sizeDecimals: number;
}

/** Rows on the page: more than a tall screen has room for. */
export const TAPE_ROWS = 50;

export function tapeOf(tape: Tape | undefined): TapePicture {
  const trades = tape?.newest(TAPE_ROWS) ?? [];
  const sizes = trades.map(({ size }): Decimal => parseDecimal(size) ?? ZERO);
  const largest = sizes.reduce((a, b) => (compare(a, b) >= 0 ? a : b), ZERO);
  return {
    prints: trades.map((trade, n) => ({ trade, weight: Math.sqrt(toRatio(sizes[n] ?? ZERO, largest)) })),
    total: tape?.total ?? 0,
    priceDecimals: Math.max(0, ...trades.map(({ price }) => decimalsOf(price))),
    sizeDecimals: Math.max(0, ...trades.map(({ size }) => significantDecimals(size))),
  };
}
