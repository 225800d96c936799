import type { ReactNode } from 'react';

import type { Stats } from '@alphapulse/client';
import { usePicture, type Picture } from '../view/picture.ts';
import type { BookPicture } from '../view/store.ts';
import type { TapePicture } from '../view/tape.ts';
import { count, duration, quoteOf, venueName } from '../view/words.ts';
import { Amount } from './Amount.tsx';

function Item({ label, title, children }: { readonly label: string; readonly title: string; readonly children: ReactNode }) {
  return (
    <div className="item" title={title}>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

interface SummaryProps {
  readonly venue: string;
  readonly symbol: string;
  readonly book: Picture<BookPicture>;
  readonly tape: Picture<TapePicture>;
  readonly stats: Picture<Stats | null>;
}

/** The instrument in one line. */
export function Summary({ venue, symbol, book, tape, stats }: SummaryProps) {
  const { ladder } = usePicture(book);
  const { prints, priceDecimals } = usePicture(tape);
  const { status } = ladder;
  const latest = usePicture(stats);
  // The windows of a book that nobody hears of stop with it: the last one is not of the last second.
  const window = status === 'stale' || status === 'awaiting' ? null : latest;
  const last = prints[0]?.trade;
  return (
    <section className="panel summary" aria-label={`${symbol} on ${venueName(venue)}`}>
      <div className="name">
        <b>{symbol}</b>
        <span>{venueName(venue)}</span>
      </div>
      <dl>
        <Item label={`Last ${quoteOf(symbol)}`} title="Price of the last trade">
          {last ? (
            <span className={`last ${last.side}`}>
              <Amount text={last.price} decimals={Math.max(priceDecimals, ladder.priceDecimals)} />
            </span>
          ) : (
            '—'
          )}
        </Item>
        <Item label="Spread" title="Best ask minus best bid, in basis points of the mid">
          {ladder.spreadBasisPoints === null ? '—' : `${ladder.spreadBasisPoints} bps`}
        </Item>
        <Item label="Changes/s" title="Level changes of the whole book in the last second">
          {window ? count(window.levelChanges) : '—'}
        </Item>
        <Item label="Trades/s" title="Trades in the last second">
          {window ? count(window.trades) : '—'}
        </Item>
        <Item label="Levels" title="Levels in the whole book, bids and asks">
          {window ? `${count(window.bidLevels)} / ${count(window.askLevels)}` : '—'}
        </Item>
        <Item label="Latency" title="From the venue's clock to ours, mean of the last second">
          {window && window.latencyMean !== null ? duration(window.latencyMean / 1e3) : '—'}
        </Item>
      </dl>
    </section>
  );
}
