import type { Exchange } from '../rest/api.ts';
import type { Polled } from '../rest/polled.ts';
import { useNow } from '../view/ticking.ts';
import { duration, rate, toneOf, venueName } from '../view/words.ts';
import { Panel } from './Panel.tsx';
import { Dot } from './Status.tsx';

/** A record older than this is remarkable on a live feed. */
const OLD_MS = 5_000;

interface RowProps {
  readonly exchange: Exchange;
  readonly now: number;
  readonly colour: string;
  /** Whether this is what the gateway says now, not what it said before it fell silent. */
  readonly current: boolean;
}

function Row({ exchange, now, colour, current }: RowProps) {
  const age = exchange.lastRecordTime === null ? null : Math.max(0, now - exchange.lastRecordTime / 1000);
  return (
    <tr className={current ? '' : 'past'} title={`${exchange.instruments} instruments`}>
      <th scope="row">
        <span className="swatch" style={{ background: colour }} aria-hidden="true" />
        {venueName(exchange.venue)}
      </th>
      <td className="state">
        <Dot tone={current ? toneOf(exchange.status) : 'unknown'} />
        {exchange.status}
      </td>
      <td className="figure">{rate(exchange.recordsPerSecond)}</td>
      <td className={`figure ${age !== null && age > OLD_MS ? 'old' : ''}`}>{age === null ? '—' : duration(age)}</td>
    </tr>
  );
}

interface VenuesProps {
  readonly exchanges: Polled<readonly Exchange[]>;
  readonly colours: ReadonlyMap<string, string>;
}

export function Venues({ exchanges, colours }: VenuesProps) {
  const now = useNow(500);
  const list = exchanges.value ?? [];
  return (
    <Panel
      title="Venues"
      area="venues"
      aside={exchanges.problem ? <span className="bad">{exchanges.problem}</span> : undefined}
    >
      <div className="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Venue</th>
              <th scope="col">Feed</th>
              <th scope="col" title="Records per second">
                Rec/s
              </th>
              <th scope="col" title="Age of the last record">
                Last
              </th>
            </tr>
          </thead>
          <tbody>
            {list.map((exchange) => (
              <Row
                key={exchange.venue}
                exchange={exchange}
                now={now}
                colour={colours.get(exchange.venue) ?? 'gray'}
                current={exchanges.problem === null}
              />
            ))}
          </tbody>
        </table>
        {list.length === 0 ? <p className="empty">No venue yet.</p> : null}
      </div>
    </Panel>
  );
}
