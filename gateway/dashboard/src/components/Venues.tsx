import { CATCHING_UP, type Exchange } from '../rest/api.ts';
import type { Polled } from '../rest/polled.ts';
import { duration, rate, toneOf, venueName } from '../view/words.ts';
import { Panel } from './Panel.tsx';
import { Dot } from './Status.tsx';

interface RowProps {
  readonly exchange: Exchange;
  readonly colour: string;
  /** Whether this is what the gateway says now, not what it said before it fell silent. */
  readonly current: boolean;
}

function Row({ exchange, colour, current }: RowProps) {
  const { validBooks, staleBooks, invalidBooks, bookAge } = exchange;
  const books = validBooks + staleBooks + invalidBooks;
  return (
    <tr
      className={current ? '' : 'past'}
      title={`${exchange.instruments} instruments; books: ${validBooks} good, ${staleBooks} stale, ${invalidBooks} invalid`}
    >
      <th scope="row">
        <span className="swatch" style={{ background: colour }} aria-hidden="true" />
        {venueName(exchange.venue)}
      </th>
      <td className="state" title={exchange.status}>
        <Dot tone={current ? toneOf(exchange.status) : 'unknown'} />
        {exchange.status}
      </td>
      <td className={`figure ${validBooks < books ? 'old' : ''}`}>{books === 0 ? '—' : `${validBooks}/${books}`}</td>
      <td className="figure">{rate(exchange.recordsPerSecond)}</td>
      <td className={`figure ${validBooks === 0 ? 'old' : ''}`}>{bookAge === null ? '—' : duration(bookAge)}</td>
    </tr>
  );
}

function Problem({ problem, code }: Pick<Polled<unknown>, 'problem' | 'code'>) {
  return code === CATCHING_UP ? <span className="doubtful">catching up</span> : <span className="bad">{problem}</span>;
}

interface VenuesProps {
  readonly exchanges: Polled<readonly Exchange[]>;
  readonly colours: ReadonlyMap<string, string>;
}

export function Venues({ exchanges, colours }: VenuesProps) {
  const list = exchanges.value ?? [];
  return (
    <Panel
      title="Venues"
      area="venues"
      aside={exchanges.problem ? <Problem {...exchanges} /> : undefined}
    >
      <div className="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Venue</th>
              <th scope="col">Feed</th>
              <th scope="col" title="Books that are valid and young, of all">
                Books
              </th>
              <th scope="col" title="Records per second">
                Rec/s
              </th>
              <th scope="col" title="Age of the youngest book">
                Age
              </th>
            </tr>
          </thead>
          <tbody>
            {list.map((exchange) => (
              <Row
                key={exchange.venue}
                exchange={exchange}
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
