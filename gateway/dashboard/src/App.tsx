import { useEffect, useMemo, useRef } from 'react';

import { Arbitrage } from './components/Arbitrage.tsx';
import { ConnectionBadge } from './components/ConnectionBadge.tsx';
import { Header } from './components/Header.tsx';
import { HealthBadge } from './components/HealthBadge.tsx';
import { InstrumentPicker } from './components/InstrumentPicker.tsx';
import { MidChart } from './components/MidChart.tsx';
import { OrderBook } from './components/OrderBook.tsx';
import { PageTitle } from './components/PageTitle.tsx';
import { Summary } from './components/Summary.tsx';
import { Tape } from './components/Tape.tsx';
import { TokenForm } from './components/TokenForm.tsx';
import { VenueQuotes } from './components/VenueQuotes.tsx';
import { Venues } from './components/Venues.tsx';
import { CATCHING_UP, get, readExchanges, readHealth, readInstruments, readOpportunities, RequestError, UNAUTHORIZED, type Instrument } from './rest/api.ts';
import { currentToken, enterToken } from './rest/credentials.ts';
import { usePolled, type Polled } from './rest/polled.ts';
import type { Wanted } from './stream/market.ts';
import { coloursOf } from './view/colours.ts';
import { useSelection, venuesOf, type Selection } from './view/selection.ts';
import type { Store } from './view/store.ts';

const NO_INSTRUMENTS: readonly Instrument[] = [];
const HISTORY_PATH = 'arbitrage/opportunities?state=closed&limit=50';

/** The stream's side of a selection: every venue's book of the symbol, trades and figures of the one instrument. */
function subscriptionsFor({ venue, symbol }: Selection, venues: readonly string[]): Wanted[] {
  return [
    ...venues.map((name): Wanted => ({ channel: 'book', venue: name, symbol })),
    { channel: 'trades', venue, symbol },
    { channel: 'stats', venue, symbol },
    { channel: 'arbitrage', symbol: '*' },
  ];
}

function useStore(store: Store, closed: boolean): void {
  useEffect(() => {
    store.start();
    return () => {
      store.stop();
    };
  }, [store]);

  useEffect(() => {
    // It has no history to give yet, or not to this user.
    if (closed) return;
    const stopped = new AbortController();
    get(HISTORY_PATH, readOpportunities, stopped.signal).then(
      (opportunities) => {
        store.addOpportunities(opportunities);
      },
      (error: unknown) => {
        // Nothing lost but the list of before: the stream fills it from now on.
        if (!(error instanceof RequestError)) throw error;
      },
    );
    return () => {
      stopped.abort();
    };
  }, [store, closed]);
}

/** A gateway that has caught up is there at once: the stream need not wait for its next try. */
function useReconnection(store: Store, catchingUp: boolean): void {
  const before = useRef(catchingUp);
  useEffect(() => {
    if (before.current && !catchingUp) store.reconnectNow();
    before.current = catchingUp;
  }, [store, catchingUp]);
}

interface BoardProps {
  readonly store: Store;
  readonly selection: Selection;
  /** Venues of the symbol, joined by commas: a value that stays equal while the list does. */
  readonly venueList: string;
  readonly colours: ReadonlyMap<string, string>;
  readonly onSelect: (selection: Selection) => void;
}

function Board({ store, selection, venueList, colours, onSelect }: BoardProps) {
  const { venue, symbol } = selection;
  const venues = useMemo(() => venueList.split(','), [venueList]);

  useEffect(() => {
    store.want(subscriptionsFor({ venue, symbol }, venues));
  }, [store, venue, symbol, venues]);

  const book = store.book(venue, symbol);
  const tape = store.tape(venue, symbol);
  const quotes = store.quotes(venues, symbol);
  const shownColours = useMemo(
    () => new Map(venues.map((name) => [name, colours.get(name) ?? 'gray'])),
    [venues, colours],
  );
  return (
    <>
      <PageTitle symbol={symbol} book={book} />
      <OrderBook venue={venue} symbol={symbol} picture={book} serverTime={store.serverTime} />
      <Summary venue={venue} symbol={symbol} book={book} tape={tape} stats={store.stats(venue, symbol)} />
      <MidChart
        symbol={symbol}
        selectedVenue={venue}
        quotes={quotes}
        opportunities={store.opportunities}
        colours={shownColours}
      />
      <VenueQuotes
        picture={quotes}
        symbol={symbol}
        selectedVenue={venue}
        colours={colours}
        serverTime={store.serverTime}
        onSelect={(to) => {
          onSelect({ symbol, venue: to });
        }}
      />
      <Tape symbol={symbol} picture={tape} />
    </>
  );
}

function Waiting({ problem, code }: Pick<Polled<unknown>, 'problem' | 'code'>) {
  const words =
    code === CATCHING_UP
      ? 'The gateway has just started: it reads what came before, and shows nothing until it knows the present.'
      : (problem ?? 'Waiting for the first instrument: the collectors are starting.');
  return (
    <section className="panel waiting" role="status">
      <p>{words}</p>
    </section>
  );
}

export function App({ store }: { readonly store: Store }) {
  const listed = usePolled('instruments', readInstruments, 3_000);
  const exchanges = usePolled('exchanges', readExchanges, 1_000);
  const health = usePolled('system/health', readHealth, 2_000);
  const instruments = listed.value ?? NO_INSTRUMENTS;
  const [selection, select] = useSelection(instruments);
  const allVenues = [...instruments, ...(exchanges.value ?? [])].map(({ venue }) => venue);
  const venueNames = [...new Set(allVenues)].sort().join(',');
  const colours = useMemo(() => coloursOf(venueNames.split(',')), [venueNames]);
  const catchingUp = exchanges.code === CATCHING_UP;
  const unauthorized = listed.code === UNAUTHORIZED;
  useStore(store, catchingUp || unauthorized);
  useReconnection(store, catchingUp);

  return (
    <div className="page">
      <Header>
        {selection ? <InstrumentPicker instruments={instruments} selection={selection} onSelect={select} /> : null}
        <span className="stretch" />
        <ConnectionBadge
          picture={store.connection}
          book={selection ? store.book(selection.venue, selection.symbol) : null}
          serverTime={store.serverTime}
          catchingUp={catchingUp}
          onReconnect={() => {
            store.reconnectNow();
          }}
        />
        <HealthBadge health={health} />
      </Header>
      <main className="board">
        {unauthorized ? (
          <TokenForm
            problem={currentToken() === '' ? null : listed.problem}
            onEnter={(token) => {
              enterToken(token);
              store.reconnectNow();
            }}
          />
        ) : null}
        {unauthorized ? null : selection ? (
          <Board
            store={store}
            selection={selection}
            venueList={venuesOf(instruments, selection.symbol).join(',')}
            colours={colours}
            onSelect={select}
          />
        ) : (
          <Waiting problem={listed.problem} code={listed.code} />
        )}
        <Arbitrage
          picture={store.opportunities}
          onSelect={({ buyVenue, symbol }) => {
            select({ venue: buyVenue, symbol });
          }}
        />
        <Venues exchanges={exchanges} colours={colours} />
      </main>
    </div>
  );
}
