import { memo, type ReactNode } from 'react';

import { LADDER_LEVELS, type Ladder, type Rung } from '../view/ladder.ts';
import type { ServerTime } from '../view/freshness.ts';
import { usePicture, type Picture } from '../view/picture.ts';
import type { BookPicture } from '../view/store.ts';
import { baseOf, quoteOf, venueName } from '../view/words.ts';
import { Amount } from './Amount.tsx';
import { Panel } from './Panel.tsx';
import { StaleFor } from './StaleFor.tsx';

interface RowProps {
  readonly rung: Rung;
  readonly priceDecimals: number;
  readonly sizeDecimals: number;
}

const Row = memo(
  function Row({ rung, priceDecimals, sizeDecimals }: RowProps) {
    return (
      <div className="rung" role="row">
        <span className="depth" style={{ transform: `scaleX(${rung.depth.toFixed(4)})` }} />
        <span className="price" role="cell">
          <Amount text={rung.price} decimals={priceDecimals} />
        </span>
        <span className="size" role="cell">
          {/* A new key mounts a new element, which plays the flash once. */}
          <span key={rung.size} className="flash">
            <Amount text={rung.size} decimals={sizeDecimals} dim />
          </span>
        </span>
        <span className="total" role="cell">
          <Amount text={rung.total} decimals={sizeDecimals} dim />
        </span>
      </div>
    );
  },
  (a, b) =>
    a.rung.price === b.rung.price &&
    a.rung.size === b.rung.size &&
    a.rung.total === b.rung.total &&
    a.rung.depth === b.rung.depth &&
    a.priceDecimals === b.priceDecimals &&
    a.sizeDecimals === b.sizeDecimals,
);

interface SideProps {
  readonly name: 'asks' | 'bids';
  readonly ladder: Ladder;
}

/** The best level stands next to the spread: asks are shown from the worst down, bids from the best down. */
function Side({ name, ladder }: SideProps) {
  const rungs = name === 'asks' ? [...ladder.asks].reverse() : ladder.bids;
  const missing = LADDER_LEVELS - rungs.length;
  const blanks = missing > 0 ? <div className="blank" style={{ gridRow: `span ${missing}` }} /> : null;
  return (
    <div className={`side ${name}`} role="table" aria-label={name === 'asks' ? 'Asks' : 'Bids'}>
      {name === 'asks' ? blanks : null}
      {rungs.map((rung) => (
        <Row key={rung.price} rung={rung} priceDecimals={ladder.priceDecimals} sizeDecimals={ladder.sizeDecimals} />
      ))}
      {name === 'bids' ? blanks : null}
    </div>
  );
}

const ARROWS = { up: '▲', down: '▼', none: '' } as const;

function Middle({ ladder }: { readonly ladder: Ladder }) {
  if (!ladder.midText || !ladder.spread) {
    return (
      <div className="middle">
        <span className="mid none">—</span>
      </div>
    );
  }
  return (
    <div className="middle">
      <span className={`mid ${ladder.direction}`} title="Mid price">
        <Amount text={ladder.midText} decimals={ladder.priceDecimals} />
        <span className="arrow" aria-hidden="true">
          {ARROWS[ladder.direction]}
        </span>
      </span>
      <span className="spread" title="Spread, and the same in basis points of the mid">
        <span className="label">spread</span> <Amount text={ladder.spread} decimals={ladder.priceDecimals} />
        <span className="unit"> {ladder.spreadBasisPoints} bps</span>
      </span>
    </div>
  );
}

interface Veil {
  readonly text: ReactNode;
  readonly tone: string;
}

function veilOf({ ladder, problem }: BookPicture, serverTime: ServerTime): Veil | null {
  if (problem) return { text: problem, tone: 'bad' };
  if (ladder.status === 'stale') {
    return { text: <StaleFor time={ladder.time} serverTime={serverTime} />, tone: 'doubtful' };
  }
  if (ladder.status === 'invalid') return { text: 'no valid book: waiting for the venue', tone: 'doubtful' };
  if (ladder.status === 'awaiting') {
    return { text: ladder.time === 0 ? 'waiting for the book' : 'not current: waiting for a snapshot', tone: 'doubtful' };
  }
  return ladder.crossed ? { text: 'crossed', tone: 'bad' } : null;
}

function Balance({ share }: { readonly share: number }) {
  const percent = Math.round(share * 100);
  return (
    <div className="balance" role="img" aria-label={`Depth shown: ${percent} % bids, ${100 - percent} % asks`}>
      <span className="balance-bids">{percent} %</span>
      <span className="balance-track" aria-hidden="true">
        <span style={{ transform: `scaleX(${share.toFixed(4)})` }} />
      </span>
      <span className="balance-asks">{100 - percent} %</span>
    </div>
  );
}

interface OrderBookProps {
  readonly venue: string;
  readonly symbol: string;
  readonly picture: Picture<BookPicture>;
  readonly serverTime: ServerTime;
}

export function OrderBook({ venue, symbol, picture, serverTime }: OrderBookProps) {
  const shown = usePicture(picture);
  const { ladder } = shown;
  const veil = veilOf(shown, serverTime);
  return (
    <Panel
      title="Order book"
      area="book"
      aside={
        <span className="venue-tag">
          {venueName(venue)} <b>{symbol}</b>
        </span>
      }
    >
      <div className="rung columns" aria-hidden="true">
        <span className="price">Price {quoteOf(symbol)}</span>
        <span className="size">Size {baseOf(symbol)}</span>
        <span className="total">Total</span>
      </div>
      <div className={`ladder ${ladder.status}`}>
        <Side name="asks" ladder={ladder} />
        <Middle ladder={ladder} />
        <Side name="bids" ladder={ladder} />
        {veil ? (
          <p className={`veil ${veil.tone}`}>
            {veil.text}
          </p>
        ) : null}
      </div>
      {ladder.bidShare === null ? null : <Balance share={ladder.bidShare} />}
    </Panel>
  );
}
