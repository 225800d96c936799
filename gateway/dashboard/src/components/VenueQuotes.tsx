import type { ServerTime } from '../view/freshness.ts';
import { usePicture, type Picture } from '../view/picture.ts';
import type { QuotesPicture, VenueQuote } from '../view/quotes.ts';
import { venueName } from '../view/words.ts';
import { Amount } from './Amount.tsx';
import { Panel } from './Panel.tsx';
import { StaleFor } from './StaleFor.tsx';

interface RowProps {
  readonly row: VenueQuote;
  readonly colour: string;
  readonly selected: boolean;
  readonly priceDecimals: number;
  readonly sizeDecimals: number;
  readonly serverTime: ServerTime;
  readonly onSelect: () => void;
}

const STATUS_WORDS = { awaiting: 'waiting', invalid: 'no valid book' } as const;

function Row({ row, colour, selected, priceDecimals, sizeDecimals, serverTime, onSelect }: RowProps) {
  const { ladder, venue } = row;
  const { bestBid, bestAsk } = ladder;
  return (
    <tr className={`${selected ? 'selected' : ''} ${ladder.status}`}>
      <th scope="row">
        <button type="button" className="venue-button" aria-pressed={selected} onClick={onSelect}>
          <span className="swatch" style={{ background: colour }} aria-hidden="true" />
          {venueName(venue)}
        </button>
      </th>
      <td className="size">{bestBid ? <Amount text={bestBid.size} decimals={sizeDecimals} dim /> : '—'}</td>
      <td className={`price bid ${row.isBestBid ? 'best' : ''}`}>
        {bestBid ? <Amount text={bestBid.price} decimals={priceDecimals} /> : '—'}
      </td>
      <td className={`price ask ${row.isBestAsk ? 'best' : ''}`}>
        {bestAsk ? <Amount text={bestAsk.price} decimals={priceDecimals} /> : '—'}
      </td>
      <td className="size">{bestAsk ? <Amount text={bestAsk.size} decimals={sizeDecimals} dim /> : '—'}</td>
      <td className="bps">
        {ladder.status === 'valid' ? (
          (ladder.spreadBasisPoints ?? '—')
        ) : ladder.status === 'stale' ? (
          <StaleFor time={ladder.time} serverTime={serverTime} />
        ) : (
          STATUS_WORDS[ladder.status]
        )}
      </td>
    </tr>
  );
}

interface VenueQuotesProps {
  readonly picture: Picture<QuotesPicture>;
  readonly symbol: string;
  readonly selectedVenue: string;
  readonly colours: ReadonlyMap<string, string>;
  readonly serverTime: ServerTime;
  readonly onSelect: (venue: string) => void;
}

export function VenueQuotes({ picture, symbol, selectedVenue, colours, serverTime, onSelect }: VenueQuotesProps) {
  const { rows, consolidated, priceDecimals, sizeDecimals } = usePicture(picture);
  return (
    <Panel title="Best bid and ask by venue" area="quotes" aside={<b>{symbol}</b>}>
      <div className="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Venue</th>
              <th scope="col">Bid size</th>
              <th scope="col">Bid</th>
              <th scope="col">Ask</th>
              <th scope="col">Ask size</th>
              <th scope="col">Spread bps</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row
                key={row.venue}
                row={row}
                colour={colours.get(row.venue) ?? 'currentColor'}
                selected={row.venue === selectedVenue}
                priceDecimals={priceDecimals}
                sizeDecimals={sizeDecimals}
                serverTime={serverTime}
                onSelect={() => {
                  onSelect(row.venue);
                }}
              />
            ))}
          </tbody>
          {consolidated && rows.length > 1 ? (
            <tfoot>
              <tr className={consolidated.crossed ? 'crossed' : ''}>
                <th scope="row">All venues</th>
                <td className="size">{venueName(consolidated.bidVenue)}</td>
                <td className="price bid">
                  <Amount text={consolidated.bid} decimals={priceDecimals} />
                </td>
                <td className="price ask">
                  <Amount text={consolidated.ask} decimals={priceDecimals} />
                </td>
                <td className="size">{venueName(consolidated.askVenue)}</td>
                <td className="bps" title={consolidated.crossed ? 'One venue bids more than another asks' : undefined}>
                  {consolidated.spreadBasisPoints}
                </td>
              </tr>
            </tfoot>
          ) : null}
        </table>
      </div>
    </Panel>
  );
}
