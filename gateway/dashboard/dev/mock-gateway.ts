/**
 * A stand-in for the gateway inside Vite's development server: `npm run dev:mock`, and `npm run preview:mock` for
 * the built page.
 *
 * It speaks the stream protocol and the REST paths this page uses, over the simulated market. MOCK_RATE is the number
 * of book messages per second and venue of a symbol (default 12); MOCK_DROP=1 leaves a delta out now and then, so that
 * the page has to notice the gap and subscribe again.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import type { Plugin, PreviewServer, ViteDevServer } from 'vite';
import { WebSocketServer, type WebSocket } from 'ws';

import type { ClientMessage, Subscription } from '../src/stream/protocol.ts';
import { topicOf } from '../src/stream/protocol.ts';
import { Arbitrage } from './arbitrage.ts';
import { levelsText, Market, SYMBOLS, VENUES, type VenueBook } from './market.ts';

const TICK_MS = 20;
const HEARTBEAT_MS = 2_000;

const rate = Number(process.env['MOCK_RATE'] ?? '12');
const dropping = process.env['MOCK_DROP'] === '1';

type Json = Readonly<Record<string, unknown>>;

/** One browser: its subscriptions and the sequence of each. */
class Client {
  readonly #socket: WebSocket;
  readonly #sequences = new Map<string, number>();

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  has(subscription: Subscription): boolean {
    return this.#sequences.has(topicOf(subscription));
  }

  subscribe(subscription: Subscription): void {
    this.#sequences.set(topicOf(subscription), 0);
  }

  unsubscribe(subscription: Subscription): void {
    this.#sequences.delete(topicOf(subscription));
  }

  next(subscription: Subscription): number {
    const sequence = (this.#sequences.get(topicOf(subscription)) ?? 0) + 1;
    this.#sequences.set(topicOf(subscription), sequence);
    return sequence;
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
  #records = 0;
  #ticks = 0;

  connect(socket: WebSocket): void {
    const client = new Client(socket);
    this.#clients.add(client);
    client.send({ type: 'hello', version: 1, heartbeat_ms: HEARTBEAT_MS });
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
      for (let due = (rate * TICK_MS) / 1000; due > 0; due -= 1) {
        if (Math.random() < due) this.#moveBook(book);
      }
      if (Math.random() < 0.06) this.#trade(book);
    }
    for (const opportunity of this.#arbitrage.update(this.#market, Date.now() * 1000)) {
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
            status: 'connected',
            instruments: SYMBOLS.length,
            records_per_second: (this.#records / VENUES.length / (now - this.#started)) * 1000,
            last_record_time: now * 1000,
          })),
        };
      case '/api/v1/instruments':
        return {
          instruments: this.#market.books.map(({ venue, spec }) => ({ venue, symbol: spec.symbol, valid: true })),
        };
      case '/api/v1/arbitrage/opportunities':
        return { opportunities: this.#arbitrage.closed };
      case '/api/v1/system/health':
        return {
          status: 'ok',
          services: Object.fromEntries(
            [...VENUES.map((venue) => `collector-${venue}`), 'processors', 'sink-clickhouse', 'sink-parquet', 'gateway'].map(
              (name) => [name, { status: 'ok', restarts: 0 }],
            ),
          ),
          lag: { processors: 3, 'sink-clickhouse': 120 },
          uptime_seconds: (now - this.#started) / 1000,
        };
      default:
        return null;
    }
  }

  #take(client: Client, message: ClientMessage): void {
    if (message.op === 'ping') {
      client.send({ type: 'pong', id: message.id });
      return;
    }
    const { op, id, ...subscription } = message;
    if (op === 'unsubscribe') {
      client.unsubscribe(subscription);
      return;
    }
    const { channel, venue = '', symbol } = subscription;
    const book = this.#market.book(venue, symbol);
    if (channel !== 'arbitrage' && !book) {
      client.send({ type: 'error', id, code: 'unknown_instrument', message: `${venue} has no ${symbol}` });
      return;
    }
    client.subscribe(subscription);
    client.send({ type: 'subscribed', id, ...subscription });
    if (channel === 'book' && book) client.send(this.#bookSnapshot(book));
    if (channel === 'trades') client.send({ type: 'snapshot', ...subscription, trades: [] });
    if (channel === 'arbitrage') {
      client.send({ type: 'snapshot', channel, symbol, opportunities: [...this.#arbitrage.open.values()] });
    }
  }

  #head(book: VenueBook): Json {
    return {
      channel: 'book',
      venue: book.venue,
      symbol: book.spec.symbol,
      epoch: this.#epoch,
      time: Date.now() * 1000,
      valid: true,
    };
  }

  #bookSnapshot(book: VenueBook): Json {
    const { decimals } = book.spec;
    const [bids, asks] = [levelsText(book.bids, decimals), levelsText(book.asks, decimals)];
    return { type: 'snapshot', ...this.#head(book), sequence: 0, bids, asks };
  }

  #moveBook(book: VenueBook): void {
    this.#records += 1;
    const changes = this.#market.move(book);
    const subscription = { channel: 'book', venue: book.venue, symbol: book.spec.symbol } as const;
    this.#publish(subscription, (client) => {
      const sequence = client.next(subscription);
      if (dropping && Math.random() < 0.005) return null;
      return { type: 'delta', ...this.#head(book), sequence, ...changes };
    });
  }

  #trade(book: VenueBook): void {
    this.#records += 1;
    const trade = { ...this.#market.trade(book), time: Date.now() * 1000 };
    const subscription = { channel: 'trades', venue: book.venue, symbol: book.spec.symbol } as const;
    this.#publish(subscription, () => ({ type: 'trades', ...subscription, trades: [trade] }));
  }

  #stats(): void {
    for (const { venue, spec, bids, asks } of this.#market.books) {
      const subscription = { channel: 'stats', venue, symbol: spec.symbol } as const;
      this.#publish(subscription, () => ({
        type: 'stats',
        ...subscription,
        deltas: rate,
        level_changes: rate * 5,
        trades: 3,
        bid_levels: bids.size * 50,
        ask_levels: asks.size * 50,
        latency_mean: 18_400_000,
      }));
    }
  }

  #publish(subscription: Subscription, make: (client: Client) => Json | null): void {
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
    if (request.url !== '/ws/v1') return;
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
