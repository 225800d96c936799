/**
 * A stand-in for the gateway inside Vite's development server: `npm run dev:mock`, and `npm run preview:mock` for
 * the built page.
 *
 * It speaks the stream protocol and the REST paths this page uses, over the simulated market. MOCK_RATE is the number
 * of book messages per second and venue of a symbol (default 12); MOCK_DROP=1 leaves a delta out now and then, so that
 * the page has to notice the gap and subscribe again; MOCK_STALL=kraken lets that venue's books stand still after ten
 * seconds, so that they become stale.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import type { Plugin, PreviewServer, ViteDevServer } from 'vite';
import { WebSocketServer, type WebSocket } from 'ws';

import { topicOf, type Wanted } from '../src/stream/market.ts';
import { Arbitrage } from './arbitrage.ts';
import { levelsText, Market, SYMBOLS, VENUES, type VenueBook } from './market.ts';

const TICK_MS = 20;
const HEARTBEAT_MS = 2_000;
const MAX_BOOK_AGE_MS = 5_000;

const rate = Number(process.env['MOCK_RATE'] ?? '12');
/** A venue whose books stand still from the tenth second on. */
const stalled = process.env['MOCK_STALL'] ?? '';
const STALLED_AFTER_MS = 10_000;
const dropping = process.env['MOCK_DROP'] === '1';

type Json = Readonly<Record<string, unknown>>;

type ClientMessage =
  | { readonly op: 'ping'; readonly id: number }
  | ({ readonly op: 'subscribe' | 'unsubscribe'; readonly id: number } & Wanted);

/** One browser and its subscriptions. */
class Client {
  readonly #socket: WebSocket;
  readonly #topics = new Set<string>();

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  has(subscription: Wanted): boolean {
    return this.#topics.has(topicOf(subscription));
  }

  subscribe(subscription: Wanted): void {
    this.#topics.add(topicOf(subscription));
  }

  unsubscribe(subscription: Wanted): void {
    this.#topics.delete(topicOf(subscription));
  }

  send(message: Json): void {
    this.#socket.send(JSON.stringify(message));
  }
}

class Gateway {
  readonly #market = new Market();
  readonly #arbitrage = new Arbitrage();
  readonly #clients = new Set<Client>();
  readonly #started = Date.now();
  readonly #epoch = `${this.#started}000000`;
  /** Of each book, its own: the same for all clients. */
  readonly #sequences = new Map<VenueBook, number>();
  readonly #stale = new Set<VenueBook>();
  #records = 0;
  #ticks = 0;

  connect(socket: WebSocket): void {
    const client = new Client(socket);
    this.#clients.add(client);
    client.send({
      type: 'hello',
      version: 2,
      gateway: 'mock',
      access: 'open',
      limits: { message: 16384, subscriptions: 1000, list: 200 },
      heartbeat_ms: HEARTBEAT_MS,
      max_book_age_ms: MAX_BOOK_AGE_MS,
      time: Date.now() * 1000,
    });
    socket.on('message', (data: Buffer) => {
      this.#take(client, JSON.parse(data.toString()) as ClientMessage);
    });
    socket.on('close', () => {
      this.#clients.delete(client);
    });
  }

  /** Advances the market by one tick and sends what changed. */
  tick(): void {
    this.#ticks += 1;
    this.#market.drift();
    for (const book of this.#market.books) {
      if (this.#stalls(book)) continue;
      for (let due = (rate * TICK_MS) / 1000; due > 0; due -= 1) {
        if (Math.random() < due) this.#moveBook(book);
      }
      if (Math.random() < 0.06) this.#trade(book);
    }
    for (const opportunity of this.#arbitrage.update(this.#market, this.#stale, Date.now() * 1000)) {
      this.#publish({ channel: 'arbitrage', symbol: '*' }, () => opportunity);
    }
    if (this.#ticks % (1000 / TICK_MS) === 0) this.#stats();
  }

  rest(path: string): Json | null {
    const now = Date.now();
    switch (path) {
      case '/api/v1/exchanges':
        return {
          exchanges: VENUES.map((venue) => ({
            venue,
            status: venue === stalled && this.#stale.size > 0 ? 'stale' : 'connected',
            instruments: SYMBOLS.length,
            valid_books: venue === stalled ? SYMBOLS.length - this.#stale.size : SYMBOLS.length,
            stale_books: venue === stalled ? this.#stale.size : 0,
            invalid_books: 0,
            book_age_ms: venue === stalled && this.#stale.size > 0 ? now - this.#started - STALLED_AFTER_MS : 12,
            records_per_second: (this.#records / VENUES.length / (now - this.#started)) * 1000,
          })),
        };
      case '/api/v1/instruments':
        return {
          instruments: this.#market.books.map((book) => ({
            venue: book.venue,
            symbol: book.spec.symbol,
            valid: !this.#stale.has(book),
          })),
        };
      case '/api/v1/arbitrage/opportunities':
        return { opportunities: this.#arbitrage.closed };
      case '/api/v1/system/health':
        return {
          status: this.#stale.size > 0 ? 'degraded' : 'ok',
          reasons: this.#stale.size > 0 ? [`${stalled}: ${this.#stale.size} of ${SYMBOLS.length} books are stale`] : [],
          services: Object.fromEntries(
            [...VENUES.map((venue) => `collector-${venue}`), 'processors', 'sink-clickhouse', 'sink-parquet', 'gateway'].map(
              (name) => [name, { status: 'ok', restarts: 0 }],
            ),
          ),
          lag: {
            processors: { records: 3, seconds: 0, age_seconds: 0.4 },
            'sink-clickhouse': { records: 120, seconds: 0.6, age_seconds: 0.4 },
          },
          uptime_seconds: (now - this.#started) / 1000,
        };
      default:
        return null;
    }
  }

  #take(client: Client, message: ClientMessage): void {
    if (message.op === 'ping') {
      client.send({ type: 'pong', id: message.id, time: Date.now() * 1000 });
      return;
    }
    const { op, id, channel, venue = '', symbol } = message;
    const subscription: Wanted = channel === 'arbitrage' ? { channel, symbol } : { channel, venue, symbol };
    if (op === 'unsubscribe') {
      client.unsubscribe(subscription);
      client.send({ type: 'unsubscribed', id, channel, feeds: [{ venue, symbol }] });
      return;
    }
    const book = this.#market.book(venue, symbol);
    if (channel !== 'arbitrage' && !book) {
      client.send({ type: 'error', id, code: 'unknown_instrument', message: `${venue} has no ${symbol}` });
      return;
    }
    client.subscribe(subscription);
    // Arbitrage has a feed for each symbol.
    const feeds = channel === 'arbitrage' ? SYMBOLS.map((spec) => ({ symbol: spec.symbol })) : [{ venue, symbol }];
    client.send({ type: 'subscribed', id, channel, feeds: feeds.map((feed) => ({ ...feed, recovered: null })) });
    if (channel === 'book' && book) client.send(this.#bookSnapshot(book));
    if (channel === 'trades') client.send({ type: 'snapshot', ...subscription, trades: [] });
    if (channel === 'arbitrage') {
      for (const spec of SYMBOLS) {
        const opportunities = [...this.#arbitrage.open.values()].filter((each) => each['symbol'] === spec.symbol);
        client.send({ type: 'snapshot', channel, symbol: spec.symbol, opportunities });
      }
    }
  }

  #head(book: VenueBook): Json {
    return {
      channel: 'book',
      venue: book.venue,
      symbol: book.spec.symbol,
      epoch: this.#epoch,
      time: (this.#stale.has(book) ? this.#started + STALLED_AFTER_MS : Date.now()) * 1000,
      sequence: this.#sequences.get(book) ?? 0,
      valid: !this.#stale.has(book),
    };
  }

  /** Whether the book stands still; tells everybody when it has become stale. */
  #stalls(book: VenueBook): boolean {
    const still = Date.now() - this.#started - STALLED_AFTER_MS;
    if (book.venue !== stalled || still < 0) return false;
    if (still > MAX_BOOK_AGE_MS && !this.#stale.has(book)) {
      this.#stale.add(book);
      const subscription = { channel: 'book', venue: book.venue, symbol: book.spec.symbol } as const;
      this.#publish(subscription, () => this.#bookSnapshot(book));
    }
    return true;
  }

  #bookSnapshot(book: VenueBook): Json {
    if (this.#stale.has(book)) return { type: 'snapshot', ...this.#head(book), reason: 'stale', bids: [], asks: [] };
    const { decimals } = book.spec;
    const [bids, asks] = [levelsText(book.bids, decimals), levelsText(book.asks, decimals)];
    return { type: 'snapshot', ...this.#head(book), reason: null, bids, asks };
  }

  #moveBook(book: VenueBook): void {
    this.#records += 1;
    const changes = this.#market.move(book);
    const subscription = { channel: 'book', venue: book.venue, symbol: book.spec.symbol } as const;
    // Conflated: a message may stand for several updates of the book.
    const previous = this.#sequences.get(book) ?? 0;
    this.#sequences.set(book, previous + 1 + Math.floor(Math.random() * 3));
    this.#publish(subscription, () => {
      if (dropping && Math.random() < 0.005) return null;
      return { type: 'delta', previous_sequence: previous, ...this.#head(book), ...changes };
    });
  }

  #trade(book: VenueBook): void {
    this.#records += 1;
    const trade = { ...this.#market.trade(book), time: Date.now() * 1000 };
    const subscription = { channel: 'trades', venue: book.venue, symbol: book.spec.symbol } as const;
    this.#publish(subscription, () => ({ type: 'trades', ...subscription, trades: [trade] }));
  }

  #stats(): void {
    const now = Date.now();
    for (const { venue, spec, bids, asks } of this.#market.books) {
      const subscription = { channel: 'stats', venue, symbol: spec.symbol } as const;
      this.#publish(subscription, () => ({
        type: 'stats',
        ...subscription,
        window_start: (now - 1000) * 1000,
        window_end: now * 1000,
        epoch: this.#epoch,
        sequence: 0,
        valid: true,
        snapshots: 0,
        deltas: rate,
        level_changes: rate * 5,
        levels_added: rate,
        levels_updated: rate * 3,
        levels_removed: rate,
        trades: 3,
        bid_levels: bids.size * 50,
        ask_levels: asks.size * 50,
        latency_mean: 18_400,
      }));
    }
  }

  #publish(subscription: Wanted, make: (client: Client) => Json | null): void {
    for (const client of this.#clients) {
      const message = client.has(subscription) ? make(client) : null;
      if (message) client.send(message);
    }
  }
}

type Server = ViteDevServer | PreviewServer;

function attach(server: Server): void {
  const gateway = new Gateway();
  const sockets = new WebSocketServer({ noServer: true });
  const timer = setInterval(() => {
    gateway.tick();
  }, TICK_MS);
  server.httpServer?.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.url !== '/ws/v2') return;
    sockets.handleUpgrade(request, socket, head, (client) => {
      gateway.connect(client);
    });
  });
  server.httpServer?.on('close', () => {
    clearInterval(timer);
    sockets.close();
  });
  server.middlewares.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
    const body = gateway.rest(new URL(request.url ?? '/', 'http://mock').pathname);
    if (!body) {
      next();
      return;
    }
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body));
  });
}

/** The Vite plugin: for the development server and for `vite preview` (the built page). */
export function mockGateway(): Plugin {
  return { name: 'mock-gateway', configureServer: attach, configurePreviewServer: attach };
}
