import { act, cleanup, fireEvent, render, screen, within } from '@testing-library/react';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { App } from '../src/App.tsx';
import { currentToken, enterToken, streamToken } from '../src/rest/credentials.ts';
import { Store } from '../src/view/store.ts';
import { manualFrames, type ManualFrames } from './frames.ts';
import { deltaJson, KRAKEN, opportunityJson, snapshotJson, tradeJson } from './messages.ts';
import { socketScript } from './scripted-socket.ts';

/** What the gateway answers, by path below api/v1. */
let rest: Record<string, unknown>;
let frames: ManualFrames;
let script: ReturnType<typeof socketScript>;
let store: Store;
let time = 0;

const settle = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
const nextFrame = () => {
  time += 100;
  act(() => {
    frames.frame(time);
  });
};
const say = (message: unknown) => {
  script.last().say(message);
};
const subscribed = () =>
  script
    .last()
    .sent.flatMap((message) =>
      message.op === 'subscribe' ? [`${message.channel} ${message.venue ?? ''} ${message.symbol}`] : [],
    );

/** The token that REST wants; null: none. */
const REQUIRED: { token: string | null } = { token: null };
const CATCHING_UP = { code: 'catching_up', message: 'the gateway has just started' };

function exchange(venue: string) {
  const books = { valid_books: 2, stale_books: 0, invalid_books: 0, book_age_ms: 12 };
  return { venue, status: 'connected', instruments: 2, records_per_second: 50, ...books };
}

beforeEach(() => {
  vi.useFakeTimers();
  window.location.hash = '';
  REQUIRED.token = null;
  enterToken('');
  rest = {
    instruments: {
      instruments: [
        { venue: 'kraken', symbol: 'BTC-USD', valid: true },
        { venue: 'coinbase', symbol: 'BTC-USD', valid: true },
        { venue: 'kraken', symbol: 'ETH-USD', valid: true },
      ],
    },
    exchanges: { exchanges: [exchange('kraken'), exchange('coinbase')] },
    'system/health': { status: 'ok', reasons: [], services: { gateway: 'ok' }, lag: {}, uptime_seconds: 5 },
    'arbitrage/opportunities': { opportunities: [opportunityJson('old', { state: 'closed' })] },
  };
  vi.stubGlobal('fetch', (url: URL, init?: RequestInit) => {
    const body = rest[url.pathname.replace(/^.*\/api\/v1\//, '')];
    if (REQUIRED.token !== null && new Headers(init?.headers).get('authorization') !== `Bearer ${REQUIRED.token}`) {
      return Promise.resolve(Response.json({ code: 'unauthorized', message: 'API key: unknown' }, { status: 401 }));
    }
    if (body === CATCHING_UP) return Promise.resolve(Response.json(CATCHING_UP, { status: 503 }));
    return body === undefined ? Promise.reject(new TypeError('refused')) : Promise.resolve(Response.json(body));
  });
  frames = manualFrames();
  script = socketScript();
  store = new Store({ url: 'ws://test/', openSocket: script.open, frames, token: streamToken });
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

it('shows a live market: book, trades, venues side by side, arbitrage, connection and health', async () => {
  render(<App store={store} />);
  script.last().open();
  await settle(10);
  expect(subscribed()).toEqual([
    'book coinbase BTC-USD',
    'book kraken BTC-USD',
    'trades kraken BTC-USD',
    'stats kraken BTC-USD',
    'arbitrage  *',
  ]);
  say(snapshotJson({ bids: [['61685.99', '0.5']], asks: [['61686.00', '1']] }));
  say(snapshotJson({ venue: 'coinbase', bids: [['61680.00', '0.5']], asks: [['61681.00', '1']] }));
  say(deltaJson({ sequence: 1, bids: [['61685.99', '0.75']] }));
  say({ type: 'trades', channel: 'trades', ...KRAKEN, trades: [tradeJson('1')] });
  say({ type: 'snapshot', channel: 'arbitrage', symbol: '*', opportunities: [opportunityJson('a')] });
  nextFrame();
  expect(within(screen.getByRole('table', { name: 'Bids' })).getAllByText('0.75')).toHaveLength(2);
  expect(within(screen.getByRole('region', { name: 'Trades' })).getAllByRole('row')).toHaveLength(2);
  expect(within(screen.getByRole('region', { name: 'Best bid and ask by venue' })).getAllByRole('row')).toHaveLength(4);
  expect(screen.getByText('1 open')).toBeTruthy();
  expect(screen.getByText('1 closed')).toBeTruthy();
  expect(screen.getByRole('status').textContent).toMatch(/^Live · /);
  expect(screen.getByText('Healthy')).toBeTruthy();
  expect(within(screen.getByRole('region', { name: 'Venues' })).getAllByRole('row')).toHaveLength(3);
});

it('follows the choice of another symbol', async () => {
  render(<App store={store} />);
  script.last().open();
  await settle(10);
  const before = subscribed().length;
  fireEvent.click(screen.getByRole('radio', { name: 'ETH-USD' }));
  await settle(10);
  expect(window.location.hash).toBe('#kraken/ETH-USD');
  expect(subscribed().slice(before)).toEqual([
    'book kraken ETH-USD',
    'trades kraken ETH-USD',
    'stats kraken ETH-USD',
  ]);
  expect(screen.getByRole('region', { name: 'ETH-USD on kraken' })).toBeTruthy();
});

it('shows the instrument of an opportunity when it is pressed', async () => {
  render(<App store={store} />);
  script.last().open();
  await settle(10);
  say({ type: 'snapshot', channel: 'arbitrage', symbol: '*', opportunities: [opportunityJson('a')] });
  nextFrame();
  fireEvent.click(screen.getByTitle('Show BTC-USD on coinbase'));
  await settle(10);
  expect(screen.getByRole('region', { name: 'BTC-USD on coinbase' })).toBeTruthy();
});

it('waits for instruments, then starts by itself', async () => {
  const listed = rest['instruments'];
  rest['instruments'] = { instruments: [] };
  render(<App store={store} />);
  await settle(10);
  expect(screen.getByText(/Waiting for the first instrument/)).toBeTruthy();
  rest['instruments'] = listed;
  await settle(3_100);
  expect(screen.getByRole('region', { name: 'Order book' })).toBeTruthy();
});

it('says that the gateway does not answer', async () => {
  rest = {};
  render(<App store={store} />);
  await settle(10);
  expect(screen.getByText('instruments: the gateway does not answer')).toBeTruthy();
  expect(screen.getByText('Unreachable')).toBeTruthy();
});

it('keeps the last book in sight, marked as not current, while it reconnects', async () => {
  render(<App store={store} />);
  script.last().open();
  await settle(10);
  say(snapshotJson({ bids: [['61685.99', '0.5']], asks: [['61686.00', '1']] }));
  say({ type: 'snapshot', channel: 'arbitrage', symbol: '*', opportunities: [opportunityJson('a')] });
  nextFrame();
  expect(screen.getByText('1 open')).toBeTruthy();
  script.last().events.closed(1006, '');
  nextFrame();
  expect(screen.getByText('not current: waiting for a snapshot')).toBeTruthy();
  expect(within(screen.getByRole('table', { name: 'Bids' })).getAllByRole('row')).toHaveLength(1);
  expect(screen.getByText(/^Reconnecting/)).toBeTruthy();
  expect(screen.getByText('Not known: waiting for the gateway.')).toBeTruthy();
  expect(screen.queryByText('1 open')).toBeNull();
  await settle(600);
  script.last().open();
  expect(subscribed()).toContain('book kraken BTC-USD');
  nextFrame();
  expect(screen.getByText('Waiting')).toBeTruthy();
  say(snapshotJson({ bids: [['61685.99', '0.5']], asks: [['61686.00', '1']] }));
  nextFrame();
  await settle(500);
  expect(screen.getByRole('status').textContent).toMatch(/^Live · /);
});

it('shows the age of the book, and when nobody confirms it any more that it is late and not to be traded on', async () => {
  render(<App store={store} />);
  const began = Date.now() * 1000;
  script.last().open(began, 5_000);
  await settle(10);
  say(snapshotJson({ time: began, bids: [['61685.99', '0.5']], asks: [['61686.00', '1']] }));
  say(snapshotJson({ venue: 'coinbase', time: began, bids: [['61700.00', '0.5']], asks: [['61701.00', '1']] }));
  nextFrame();
  await settle(990);
  expect(screen.getByRole('status').textContent).toMatch(/^Live · (9\d\d ms|1\.[01] s)$/);
  const quotes = () => within(screen.getByRole('region', { name: 'Best bid and ask by venue' }));
  expect(quotes().getAllByRole('row').at(-1)?.className).toBe('crossed');
  say(deltaJson({ venue: 'coinbase', sequence: 1, time: began + 5_000_000 }));
  await settle(5_000); // and of kraken nothing comes
  nextFrame();
  await settle(500);
  expect(screen.getByRole('status').textContent).toBe('Late · 6 s');
  expect(within(screen.getByRole('region', { name: 'Order book' })).getByText('stale for 6 s')).toBeTruthy();
  expect(quotes().getByText('stale for 6 s')).toBeTruthy();
  expect(quotes().getAllByRole('row').at(-1)?.className).toBe('');
});

it('waits for a gateway that catches up, and connects as soon as it has', async () => {
  const well = rest;
  rest = { instruments: CATCHING_UP, exchanges: CATCHING_UP, 'arbitrage/opportunities': CATCHING_UP };
  render(<App store={store} />);
  script.last().events.closed(1006, '');
  nextFrame();
  await settle(10);
  expect(screen.getByText('Catching up')).toBeTruthy();
  expect(screen.getByText(/shows nothing until it knows the present/)).toBeTruthy();
  expect(within(screen.getByRole('region', { name: 'Venues' })).getByText('catching up')).toBeTruthy();
  for (let attempt = 0; attempt < 8; attempt += 1) {
    await settle(16_000);
    script.last().events.closed(1006, '');
    nextFrame();
  }
  await settle(10);
  const tries = script.sockets.length;
  rest = well;
  await settle(1_010);
  expect(script.sockets.length).toBeGreaterThan(tries);
  expect(screen.getByText('1 closed')).toBeTruthy();
});

it('closes the stream when it goes', () => {
  const { unmount } = render(<App store={store} />);
  unmount();
  expect(script.last().closedWith).not.toBeNull();
});

it('asks for a token where the gateway requires one, and sends it in header and first message', async () => {
  REQUIRED.token = 'apk_right';
  render(<App store={store} />);
  script.last().opened(1_723_100_000_000_000, { access: 'required' });
  await settle(10);
  const field = screen.getByLabelText(/API key or token/);
  expect(field).toHaveProperty('type', 'password');
  expect(screen.queryByRole('alert')).toBeNull();

  const enter = (token: string) => {
    fireEvent.change(screen.getByLabelText(/API key or token/), { target: { value: token } });
    fireEvent.click(screen.getByRole('button', { name: 'Enter' }));
  };
  enter('apk_wrong');
  await settle(3_100);
  expect(screen.getByRole('alert').textContent).toBe('API key: unknown');

  enter(' apk_right ');
  expect(currentToken()).toBe('apk_right');
  script.last().opened(1_723_100_000_000_000, { access: 'required' });
  await settle(3_100);
  expect(screen.queryByLabelText(/API key or token/)).toBeNull();
  expect(script.last().sent[0]).toMatchObject({ op: 'auth', token: 'apk_right' });
  expect(script.sockets.map(({ url }) => url).join()).not.toContain('apk_');
  expect(window.location.href).not.toContain('apk_');
});
