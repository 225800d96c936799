import { cleanup, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { Arbitrage } from '../../src/components/Arbitrage.tsx';
import { ConnectionBadge } from '../../src/components/ConnectionBadge.tsx';
import { HealthBadge } from '../../src/components/HealthBadge.tsx';
import { InstrumentPicker } from '../../src/components/InstrumentPicker.tsx';
import { PageTitle } from '../../src/components/PageTitle.tsx';
import { Summary } from '../../src/components/Summary.tsx';
import { Tape } from '../../src/components/Tape.tsx';
import { VenueQuotes } from '../../src/components/VenueQuotes.tsx';
import { Venues } from '../../src/components/Venues.tsx';
import type { ConnectionState } from '@alphapulse/client';
import { OpportunityBoard } from '../../src/stream/opportunities.ts';
import type { OpportunityFields as Opportunity } from '@alphapulse/client';
import { Tape as TapeState } from '../../src/stream/tape.ts';
import { ladderOf } from '../../src/view/ladder.ts';
import { LivePicture } from '../../src/view/picture.ts';
import { quotesOf } from '../../src/view/quotes.ts';
import { tapeOf } from '../../src/view/tape.ts';
import { emptyBook, opportunity, snapshot, stats, trade, type BookMessage } from '../messages.ts';

afterEach(cleanup);

const ladder = (bid: string, ask: string) => {
  const book = emptyBook();
  book.apply(snapshot({ bids: [[bid, '0.5']], asks: [[ask, '0.25']] }));
  return ladderOf(book);
};
const cells = (row: HTMLElement | undefined) => [...(row?.children ?? [])].map(({ textContent }) => textContent);

describe('Tape', () => {
  it('shows the newest first, the aggressor by colour and by name', () => {
    const tape = new TapeState();
    tape.push([
      trade('1', { side: 'sell', price: '61685.9', size: '0.5' }),
      trade('2', { side: 'buy', price: '61686.00', size: '0.125' }),
      trade('3', { side: 'unknown', size: '2' }),
    ]);
    render(<Tape symbol="BTC-USD" picture={new LivePicture(() => tapeOf(tape))} />);
    const [, unknown, buy, sell] = screen.getAllByRole('row');
    expect([unknown?.className, buy?.className, sell?.className]).toEqual(['unknown', 'buy', 'sell']);
    expect(cells(buy).slice(1)).toEqual(['▲61,686.00', '0.125']);
    expect(cells(sell).slice(1)).toEqual(['▼61,685.90', '0.500']);
    expect(within(sell ?? document.body).getByRole('img', { name: 'seller took' })).toBeTruthy();
  });

  it('says when there is none', () => {
    render(<Tape symbol="BTC-USD" picture={new LivePicture(() => tapeOf(undefined))} />);
    expect(screen.getByText('No trade yet.')).toBeTruthy();
  });
});

describe('VenueQuotes', () => {
  it('sets the venues side by side, marks the best, and selects by a press', async () => {
    const onSelect = vi.fn();
    const picture = new LivePicture(() =>
      quotesOf([
        ['coinbase', ladder('61600.00', '61601.00')],
        ['kraken', ladder('61602.50', '61603.00')],
      ]),
    );
    const colours = new Map([['kraken', '#fff']]);
    render(
      <VenueQuotes
        picture={picture}
        symbol="BTC-USD"
        selectedVenue="kraken"
        colours={colours}
        serverTime={() => null}
        onSelect={onSelect}
      />,
    );
    const [, coinbase, kraken, all] = screen.getAllByRole('row');
    expect(cells(coinbase)).toEqual(['coinbase', '0.50', '61,600.00', '61,601.00', '0.25', '0.16']);
    expect(kraken?.querySelector('.bid')?.className).toContain('best');
    expect(coinbase?.querySelector('.ask')?.className).toContain('best');
    expect([all?.className, all?.lastElementChild?.textContent]).toEqual(['crossed', '-0.24']);
    expect(screen.getByRole('button', { name: 'kraken' }).getAttribute('aria-pressed')).toBe('true');
    await userEvent.click(screen.getByRole('button', { name: 'coinbase' }));
    expect(onSelect).toHaveBeenCalledWith('coinbase');
  });

  it('takes a stale book out of the comparison and says for how long it has been so', () => {
    const book = emptyBook();
    book.apply(snapshot({ bids: [['61700.00', '0.5']], asks: [['61701.00', '0.25']] }));
    book.apply(snapshot({ valid: false, reason: 'stale' }));
    const picture = new LivePicture(() =>
      quotesOf([
        ['coinbase', ladder('61600.00', '61601.00')],
        ['kraken', ladderOf(book)],
      ]),
    );
    render(
      <VenueQuotes
        picture={picture}
        symbol="BTC-USD"
        selectedVenue="coinbase"
        colours={new Map()}
        serverTime={() => book.time + 12_900_000}
        onSelect={vi.fn()}
      />,
    );
    const [, , kraken, all] = screen.getAllByRole('row');
    expect(kraken?.className.trim()).toBe('stale');
    expect(cells(kraken)).toEqual(['kraken', '0.50', '61,700.00', '61,701.00', '0.25', 'stale for 12 s']);
    expect(kraken?.querySelector('.best')).toBeNull();
    expect([all?.className, cells(all)]).toEqual(['', ['All venues', 'coinbase', '61,600.00', '61,601.00', 'coinbase', '0.16']]);
  });
});

describe('Arbitrage', () => {
  function show(opportunities: readonly Opportunity[], onSelect = vi.fn()) {
    const board = new OpportunityBoard();
    for (const one of opportunities) board.apply(one);
    const { open, closed, closedTotal } = board;
    render(<Arbitrage picture={new LivePicture(() => ({ open, closed, closedTotal }))} onSelect={onSelect} />);
    return onSelect;
  }

  it('highlights open ones with both legs, net profit and basis points, and selects by a press', async () => {
    const onSelect = show([opportunity('a', { netProfit: '12.3456', netBasisPoints: 8.024 })]);
    const button = screen.getByRole('button');
    for (const words of ['BTC-USD', 'coinbase 61,600.00', 'kraken 61,690.50', '0.25 BTC', '+12.35 USD', '8.02 bps']) {
      expect(button.textContent).toContain(words);
    }
    await userEvent.click(button);
    expect(onSelect).toHaveBeenCalledWith(expect.objectContaining({ id: 'a' }));
  });

  it('shortens mean prices, the whole in their title', () => {
    show([opportunity('a', { buyPrice: '61284.51116535', sellPrice: '0.123456789' })]);
    expect(screen.getByTitle('61284.51116535').textContent).toBe('61,284.51');
    expect(screen.getByTitle('0.123456789').textContent).toBe('0.123457');
  });

  it('shows small profits with more decimals, and counts what does not fit', () => {
    show(Array.from({ length: 7 }, (_, n) => opportunity(String(n), { netProfit: '0.00361' })));
    expect(screen.getAllByRole('button')).toHaveLength(4);
    expect(screen.getAllByRole('button')[0]?.textContent).toContain('+0.0036');
    expect(screen.getByText('and 3 more')).toBeTruthy();
  });

  it('lists closed ones with how long they lived and why they closed', () => {
    const closed = { state: 'closed', updatedTime: 1_723_100_002_500_000, closeReason: 'invalid_book' } as const;
    show([opportunity('a', { netProfit: '1.5', netBasisPoints: 3 }), opportunity('a', { ...closed, netProfit: '-1' })]);
    const row = screen.getAllByRole('row')[1];
    expect(cells(row).slice(1)).toEqual(['BTC-USD', 'coinbase→kraken', '+1.50', '8.02', '2.5 s', 'invalid book']);
    expect(screen.getByText('Nothing pays after fees right now.')).toBeTruthy();
  });
});

describe('Venues', () => {
  it('shows rate, age and feed of every venue', () => {
    const base = { instruments: 9, recordsPerSecond: 812.4, invalidBooks: 0 };
    const value = [
      { ...base, venue: 'kraken', status: 'stale', validBooks: 0, staleBooks: 9, bookAge: 60_500 },
      { ...base, venue: 'okx', status: 'connected', validBooks: 8, staleBooks: 1, bookAge: 40 },
      { ...base, venue: 'binance_us', status: 'disconnected', validBooks: 0, staleBooks: 0, bookAge: null },
    ];
    const problem = 'exchanges: the gateway answered 500';
    render(<Venues exchanges={{ value, problem, code: null }} colours={new Map()} />);
    const [, kraken, okx, binance] = screen.getAllByRole('row');
    const old = (row: HTMLElement | undefined) => [...(row?.querySelectorAll('.old') ?? [])].map((cell) => cell.textContent);
    expect(cells(kraken)).toEqual(['kraken', 'stale', '0/9', '812', '1 m 01 s']);
    expect(old(kraken)).toEqual(['0/9', '1 m 01 s']);
    expect(cells(okx)).toEqual(['okx', 'connected', '8/9', '812', '40 ms']);
    expect(old(okx)).toEqual(['8/9']);
    expect(cells(binance)).toEqual(['binance us', 'disconnected', '—', '812', '—']);
    expect(screen.getByText('exchanges: the gateway answered 500')).toBeTruthy();
    expect(kraken?.querySelector('.dot')?.className).toBe('dot unknown');
  });
});

describe('InstrumentPicker', () => {
  const instruments = [
    { venue: 'coinbase', symbol: 'BTC-USD', valid: true },
    { venue: 'kraken', symbol: 'BTC-USD', valid: true },
    { venue: 'kraken', symbol: 'ADA-USD', valid: true },
  ];

  it('moves with the keyboard', async () => {
    const onSelect = vi.fn();
    render(
      <InstrumentPicker
        instruments={instruments}
        selection={{ venue: 'coinbase', symbol: 'BTC-USD' }}
        onSelect={onSelect}
      />,
    );
    await userEvent.tab();
    expect(document.activeElement).toBe(screen.getByRole('radio', { name: 'BTC-USD' }));
    await userEvent.keyboard('{ArrowRight}');
    expect(onSelect).toHaveBeenLastCalledWith({ venue: 'kraken', symbol: 'ADA-USD' });
    await userEvent.click(screen.getByRole('radio', { name: 'kraken' }));
    expect(onSelect).toHaveBeenLastCalledWith({ venue: 'kraken', symbol: 'BTC-USD' });
  });

  it('becomes a list when there are many symbols', async () => {
    const onSelect = vi.fn();
    const many = Array.from({ length: 30 }, (_, n) => ({ venue: 'kraken', symbol: `S${n}-USD`, valid: true }));
    render(<InstrumentPicker instruments={many} selection={{ venue: 'kraken', symbol: 'S0-USD' }} onSelect={onSelect} />);
    await userEvent.selectOptions(screen.getByRole('combobox', { name: 'Symbol' }), 'S7-USD');
    expect(onSelect).toHaveBeenCalledWith({ venue: 'kraken', symbol: 'S7-USD' });
  });
});

describe('ConnectionBadge', () => {
  const VALID: readonly BookMessage[] = [snapshot({ bids: [['1', '1']], asks: [['2', '1']] })];

  function show(state: ConnectionState, { gaps = 0, messages = VALID, catchingUp = false } = {}) {
    const onReconnect = vi.fn();
    const book = emptyBook();
    for (const message of messages) book.apply(message);
    const picture = new LivePicture(() => ({
      state,
      messagesPerSecond: 840,
      gaps,
      unreadable: 0,
      roundTripMs: 2,
      problem: null,
    }));
    render(
      <ConnectionBadge
        picture={picture}
        book={new LivePicture(() => ({ ladder: ladderOf(book), problem: null }))}
        serverTime={() => snapshot().time + 40_000}
        catchingUp={catchingUp}
        onReconnect={onReconnect}
      />,
    );
    return onReconnect;
  }

  it.each<[ConnectionState, string]>([
    [{ phase: 'connecting' }, 'Connecting'],
    [{ phase: 'live' }, 'Live · 40 ms'],
    [{ phase: 'stale' }, 'Silent'],
    [{ phase: 'waiting', retryAt: 0, reason: 'connection lost' }, 'Reconnecting'],
    [{ phase: 'ended', reason: 'too many refused messages' }, 'Disconnected'],
  ])('says %j', (state, word) => {
    show(state);
    expect(screen.getByRole('status').textContent).toBe(word);
  });

  it('is green only while the book is young, whatever the socket says', () => {
    const time = snapshot().time - 12_000_000;
    show({ phase: 'live' }, { messages: [...VALID, snapshot({ valid: false, reason: 'stale', time })] });
    expect(screen.getByRole('status').textContent).toBe('Late · 12 s');
    expect(document.querySelector('.connection')?.className).toContain('doubtful');
  });

  it('does not take a gateway that catches up for one that is gone', () => {
    show({ phase: 'waiting', retryAt: Date.now() + 5_000, reason: 'connection lost' }, { catchingUp: true });
    expect(screen.getByRole('status').textContent).toBe('Catching up');
    expect(screen.queryByRole('button')).toBeNull();
  });

  it('shows the rate while connected, the round trip in its title, and gaps once there were any', () => {
    show({ phase: 'live' }, { gaps: 3 });
    expect(screen.getByText('840 msg/s')).toBeTruthy();
    expect(screen.getByTitle(/round trip 2 ms/)).toBeTruthy();
    expect(screen.getByText('3 gaps')).toBeTruthy();
  });

  it('counts down, says why, and lets one connect at once', async () => {
    const onReconnect = show({ phase: 'waiting', retryAt: Date.now() + 20_000, reason: 'the gateway is restarting' });
    expect(screen.getByRole('status').textContent).toMatch(/^Reconnecting in (20|19)\.\d s$/);
    expect(screen.getByText('the gateway is restarting')).toBeTruthy();
    await userEvent.click(screen.getByRole('button', { name: 'Connect now' }));
    expect(onReconnect).toHaveBeenCalledOnce();
  });
});

describe('HealthBadge', () => {
  const value = {
    status: 'degraded',
    services: [
      { name: 'gateway', status: 'ok', detail: '' },
      { name: 'sink', status: 'down', detail: 'does not answer' },
    ],
    reasons: ['sink: does not answer', 'processors is 147,000 records, 93.0 s behind'],
    lag: [
      { name: 'sink', records: 1200, seconds: 0.42, ageSeconds: 12 },
      { name: 'processors', records: 147_000, seconds: 93, ageSeconds: 1 },
    ],
    uptimeSeconds: 61,
  };

  it('shows the whole and lists the parts', () => {
    render(<HealthBadge health={{ value, problem: null, code: null }} />);
    expect(screen.getByRole('button').textContent).toBe('Degraded1/2 services');
    const told = [...value.reasons, 'gateway', 'down', 'does not answer', '1.2k records, 0.4 s', '147k records, 93.0 s'];
    for (const words of [...told, 'known 12.0 s ago', 'up 1 m 01 s']) expect(screen.getByText(words)).toBeTruthy();
    expect(screen.queryByText('known 1.0 s ago')).toBeNull();
  });

  it('says when nobody answers', () => {
    render(<HealthBadge health={{ value: null, problem: 'system/health: the gateway does not answer', code: null }} />);
    expect(screen.getByRole('button').textContent).toBe('Unreachable');
    expect(screen.getByText('system/health: the gateway does not answer')).toBeTruthy();
  });
});

describe('Summary and title', () => {
  const book = new LivePicture(() => ({ ladder: ladder('61600.00', '61601.01'), problem: null }));

  it('put the instrument in one line', () => {
    const tape = new TapeState();
    tape.push([trade('1', { price: '61600.5' })]);
    const window = stats({ level_changes: 1234, bid_levels: 900, ask_levels: 1100, latency_mean: 18_400 });
    render(
      <Summary
        venue="kraken"
        symbol="BTC-USD"
        book={book}
        tape={new LivePicture(() => tapeOf(tape))}
        stats={new LivePicture(() => window)}
      />,
    );
    const figures = screen.getAllByRole('definition').map(({ textContent }) => textContent);
    expect(figures).toEqual(['61,600.50', '0.16 bps', '1.2k', '2', '900 / 1.1k', '18 ms']);
  });

  it('leave out what is not known', () => {
    const none = new LivePicture(() => null);
    render(
      <Summary venue="kraken" symbol="BTC-USD" book={book} tape={new LivePicture(() => tapeOf(undefined))} stats={none} />,
    );
    expect(screen.getAllByRole('definition').map(({ textContent }) => textContent)).toEqual([
      '—',
      '0.16 bps',
      '—',
      '—',
      '—',
      '—',
    ]);
  });

  it('tell no figures of the last second of a book that is stale', () => {
    const source = emptyBook();
    source.apply(snapshot({ bids: [['61600.00', '1']], asks: [['61601.01', '1']] }));
    source.apply(snapshot({ valid: false, reason: 'stale' }));
    const tape = new TapeState();
    tape.push([trade('1', { price: '61600.5' })]);
    const window = stats({ level_changes: 1234, bid_levels: 900, ask_levels: 1100, latency_mean: 18_400 });
    const stale = new LivePicture(() => ({ ladder: ladderOf(source), problem: null }));
    render(
      <Summary
        venue="kraken"
        symbol="BTC-USD"
        book={stale}
        tape={new LivePicture(() => tapeOf(tape))}
        stats={new LivePicture(() => window)}
      />,
    );
    const figures = screen.getAllByRole('definition').map(({ textContent }) => textContent);
    expect(figures).toEqual(['61,600.50', '—', '—', '—', '—', '—']);
    render(<PageTitle symbol="BTC-USD" book={stale} />);
    expect(document.title).toBe('BTC-USD · AlphaPulse');
  });

  it('put the mid in the tab', () => {
    render(<PageTitle symbol="BTC-USD" book={book} />);
    expect(document.title).toBe('61,600.51 BTC-USD · AlphaPulse');
  });
});
