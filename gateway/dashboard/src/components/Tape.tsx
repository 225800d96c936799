import { memo } from 'react';

import type { Side } from '@alphapulse/client';
import { usePicture, type Picture } from '../view/picture.ts';
import type { TapePicture } from '../view/tape.ts';
import { baseOf, clock, count, preciseClock, quoteOf } from '../view/words.ts';
import { Amount } from './Amount.tsx';
import { Panel } from './Panel.tsx';

const MARKS: Record<Side, { readonly mark: string; readonly words: string }> = {
  buy: { mark: '▲', words: 'buyer took' },
  sell: { mark: '▼', words: 'seller took' },
  unknown: { mark: '·', words: 'aggressor unknown' },
};

interface RowProps {
  readonly side: Side;
  readonly price: string;
  readonly size: string;
  readonly time: number;
  readonly weight: number;
  readonly priceDecimals: number;
  readonly sizeDecimals: number;
}

const Row = memo(function Row({ side, price, size, time, weight, priceDecimals, sizeDecimals }: RowProps) {
  const { mark, words } = MARKS[side];
  return (
    <tr className={side} title={preciseClock(time)}>
      <td className="time">{clock(time)}</td>
      <td className="price">
        <span className="mark" role="img" aria-label={words}>
          {mark}
        </span>
        <Amount text={price} decimals={priceDecimals} />
      </td>
      <td className="size">
        <span className="weight" style={{ transform: `scaleX(${weight.toFixed(3)})` }} />
        <span className="figure">
          <Amount text={size} decimals={sizeDecimals} dim />
        </span>
      </td>
    </tr>
  );
});

interface TapeProps {
  readonly symbol: string;
  readonly picture: Picture<TapePicture>;
}

export function Tape({ symbol, picture }: TapeProps) {
  const { prints, total, priceDecimals, sizeDecimals } = usePicture(picture);
  return (
    <Panel title="Trades" area="tape" aside={<span title="Trades received by this page">{count(total)} seen</span>}>
      <div className="scroll" tabIndex={0} role="region" aria-label="Trades, newest first">
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Price {quoteOf(symbol)}</th>
              <th scope="col">Size {baseOf(symbol)}</th>
            </tr>
          </thead>
          <tbody>
            {prints.map(({ trade, weight }, position) => (
              // Rows are places on the page: a new trade changes texts, it does not build rows.
              <Row
                key={position}
                side={trade.side}
                price={trade.price}
                size={trade.size}
                time={trade.time}
                weight={weight}
                priceDecimals={priceDecimals}
                sizeDecimals={sizeDecimals}
              />
            ))}
          </tbody>
        </table>
        {prints.length === 0 ? <p className="empty">No trade yet.</p> : null}
      </div>
    </Panel>
  );
}
