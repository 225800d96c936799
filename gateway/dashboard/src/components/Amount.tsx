import { grouped, significantDecimals, withDecimals } from '@alphapulse/client';

interface AmountProps {
  /** Decimal text, shown digit for digit. */
  readonly text: string;
  /** Zeros are appended up to this many decimals, so that columns align. */
  readonly decimals: number;
  /** Dims the zeros that only fill the column. */
  readonly dim?: boolean;
}

/** A price or size, thousands grouped. */
export function Amount({ text, decimals, dim = false }: AmountProps) {
  const full = grouped(withDecimals(text, decimals));
  if (!dim) return full;
  const filling = Math.max(0, decimals - significantDecimals(text));
  if (filling === 0) return full;
  // With no significant decimals at all the point goes with the zeros.
  const cut = full.length - filling - (filling === decimals ? 1 : 0);
  return (
    <>
      {full.slice(0, cut)}
      <span className="filling">{full.slice(cut)}</span>
    </>
  );
}
