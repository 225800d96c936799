import { formatDecimal, grouped, rounded } from '@alphapulse/client';
import type { Picture } from '../view/picture.ts';
import type { BookPicture } from '../view/store.ts';
import { useNow } from '../view/ticking.ts';

interface PageTitleProps {
  readonly symbol: string;
  readonly book: Picture<BookPicture>;
}

/** The mid in the browser's tab, once a second. */
export function PageTitle({ symbol, book }: PageTitleProps) {
  useNow(1000);
  const { mid, priceDecimals, status } = book.read().ladder;
  const price = mid && status === 'valid' ? `${grouped(formatDecimal(rounded(mid, priceDecimals)))} ` : '';
  return <title>{`${price}${symbol} · AlphaPulse`}</title>;
}
