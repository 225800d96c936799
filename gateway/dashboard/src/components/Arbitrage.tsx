import { compare, formatDecimal, grouped, parseDecimal, rounded, withDecimals, type Decimal } from '@alphapulse/client';
import type { Watched } from '../stream/opportunities.ts';
import { usePicture, type Picture } from '../view/picture.ts';
import type { ArbitragePicture } from '../view/store.ts';
import { useNow } from '../view/ticking.ts';
import { baseOf, clock, count, duration, quoteOf, venueName } from '../view/words.ts';
import { Panel } from './Panel.tsx';

/** Rows of open opportunities on the page; more are counted. */
const OPEN_ROWS = 4;
const CLOSED_ROWS = 40;
const TENTH: Decimal = { mantissa: 1n, scale: 1 };

/** Two decimals, four below a tenth. The title of the cell has all of them. */
function profit(text: string): string {
  const value = parseDecimal(text);
  if (!value) return text;
  const decimals = value.mantissa > 0n && compare(value, TENTH) < 0 ? 4 : 2;
  const shown = withDecimals(formatDecimal(rounded(value, decimals)), decimals);
  return `${value.mantissa > 0n ? '+' : ''}${grouped(shown)}`;
}

/** A mean over levels has as many decimals as its division left: two are enough next to a price of a hundred or more. */
function meanPrice(text: string): string {
  const value = parseDecimal(text);
  if (!value) return text;
  const integerDigits = text.split('.', 1)[0]?.length ?? 0;
  return grouped(formatDecimal(rounded(value, integerDigits >= 3 ? 2 : 6)));
}

function Route({ opportunity }: { readonly opportunity: Watched }) {
  return (
    <span className="route">
      <span className="venue-word">{venueName(opportunity.buyVenue)}</span>
      <span aria-label="to">→</span>
      <span className="venue-word">{venueName(opportunity.sellVenue)}</span>
    </span>
  );
}

interface OpenProps {
  readonly opportunity: Watched;
  readonly now: number;
  readonly onSelect: (opportunity: Watched) => void;
}

function Open({ opportunity, now, onSelect }: OpenProps) {
  return (
    <li>
      <button
        type="button"
        className="opportunity"
        title={`Show ${opportunity.symbol} on ${venueName(opportunity.buyVenue)}`}
        onClick={() => {
          onSelect(opportunity);
        }}
      >
        <span className="opportunity-symbol">{opportunity.symbol}</span>
        <span className="legs">
          <span>
            <span className="leg">buy</span> {venueName(opportunity.buyVenue)}{' '}
            <span className="ask" title={opportunity.buyPrice}>
              {meanPrice(opportunity.buyPrice)}
            </span>
          </span>
          <span>
            <span className="leg">sell</span> {venueName(opportunity.sellVenue)}{' '}
            <span className="bid" title={opportunity.sellPrice}>
              {meanPrice(opportunity.sellPrice)}
            </span>
          </span>
        </span>
        <span className="lot">
          {opportunity.size} {baseOf(opportunity.symbol)}
        </span>
        <span className="net" title={`${opportunity.netProfit} ${quoteOf(opportunity.symbol)} after fees`}>
          {profit(opportunity.netProfit)} <small>{quoteOf(opportunity.symbol)}</small>
        </span>
        <span className="net-bps">
          {opportunity.netBasisPoints.toFixed(2)} <small>bps</small>
        </span>
        <span className="age">{duration(now - opportunity.openedTime / 1000)}</span>
      </button>
    </li>
  );
}

function Closed({ opportunity }: { readonly opportunity: Watched }) {
  return (
    <tr>
      <td className="time">{clock(opportunity.updatedTime)}</td>
      <td className="symbol">{opportunity.symbol}</td>
      <td>
        <Route opportunity={opportunity} />
      </td>
      <td className="price" title={`${opportunity.bestNetProfit} ${quoteOf(opportunity.symbol)}`}>
        {profit(opportunity.bestNetProfit)}
      </td>
      <td className="bps">{opportunity.bestBasisPoints.toFixed(2)}</td>
      <td className="lived">{duration((opportunity.updatedTime - opportunity.openedTime) / 1000)}</td>
      <td className="reason">{opportunity.closeReason?.replaceAll('_', ' ') ?? ''}</td>
    </tr>
  );
}

interface ArbitrageProps {
  readonly picture: Picture<ArbitragePicture>;
  readonly onSelect: (opportunity: Watched) => void;
}

export function Arbitrage({ picture, onSelect }: ArbitrageProps) {
  const { open, closed, closedTotal } = usePicture(picture);
  const now = useNow(250);
  const hidden = (open?.length ?? 0) - OPEN_ROWS;
  return (
    <Panel
      title="Arbitrage"
      area="arbitrage"
      aside={
        <>
          {open ? <span className={open.length > 0 ? 'badge gold' : 'badge'}>{open.length} open</span> : null}
          <span className="badge">{count(closedTotal)} closed</span>
        </>
      }
    >
      <ul className="open-list" aria-label="Open opportunities, after fees">
        {open?.slice(0, OPEN_ROWS).map((opportunity) => (
          <Open key={opportunity.id} opportunity={opportunity} now={now} onSelect={onSelect} />
        ))}
        {open?.length === 0 ? <li className="empty">Nothing pays after fees right now.</li> : null}
        {open ? null : <li className="empty">Not known: waiting for the gateway.</li>}
        {hidden > 0 ? <li className="more">and {hidden} more</li> : null}
      </ul>
      <div className="scroll" tabIndex={0} role="region" aria-label="Recently closed opportunities">
        <table>
          <thead>
            <tr>
              <th scope="col">Closed</th>
              <th scope="col">Symbol</th>
              <th scope="col">Buy → sell</th>
              <th scope="col">Best net</th>
              <th scope="col">Best bps</th>
              <th scope="col">Lived</th>
              <th scope="col">Why</th>
            </tr>
          </thead>
          <tbody>
            {closed.slice(0, CLOSED_ROWS).map((opportunity) => (
              <Closed key={opportunity.id} opportunity={opportunity} />
            ))}
          </tbody>
        </table>
        {closed.length === 0 ? <p className="empty">None has closed yet.</p> : null}
      </div>
    </Panel>
  );
}
