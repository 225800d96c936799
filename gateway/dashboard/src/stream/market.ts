/**
 * What the page holds of the stream: the client's books, the latest trades and statistics, and the opportunities.
 *
 * The client tells of messages; which topics changed is noted until somebody asks (`takeChanged`). Nothing here knows React.
 */
import {
  Client,
  OperationRefused,
  type Book,
  type ClientError,
  type ClientOptions,
  type ConnectionState,
  type Counters,
  type FeedMessage,
  type Stats,
  type Subscription,
} from '@alphapulse/client';

import { OpportunityBoard } from './opportunities.ts';
import { statusOf, type BookStatus } from './status.ts';
import { Tape } from './tape.ts';

/** A refused subscription (an instrument not known yet) is tried again after this. */
export const RETRY_REFUSED_MS = 5_000;

/** What a part of the page wants to see. */
export interface Wanted {
  readonly channel: 'book' | 'trades' | 'stats' | 'arbitrage';
  /** Absent for arbitrage. */
  readonly venue?: string;
  /** `*` (every symbol) for arbitrage. */
  readonly symbol: string;
}

/** One name per wanted feed: `channel|venue|symbol`. */
export function topicOf({ channel, venue, symbol }: Wanted): string {
  return `${channel}|${venue ?? ''}|${symbol}`;
}

export const OPPORTUNITIES_TOPIC = topicOf({ channel: 'arbitrage', symbol: '*' });

interface Entry {
  readonly wanted: Wanted;
  subscription: Subscription | null;
  /** Why the gateway refused it. */
  problem: string | null;
  /** When it was refused. */
  refusedAt: number;
  /** Of a book, when it was last looked at: its age alone may change it. */
  status: BookStatus;
}

export interface MarketOptions extends Omit<ClientOptions, 'encoding'> {
  readonly url: string;
}

export class Market {
  readonly opportunities = new OpportunityBoard();
  readonly #client: Client;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #tapes = new Map<string, Tape>();
  readonly #stats = new Map<string, Stats>();
  readonly #changed = new Set<string>();
  #running = false;
  #opportunitiesKnown = false;

  constructor({ url, onActivity, ...options }: MarketOptions) {
    this.#now = options.now ?? Date.now;
    this.#client = new Client(url, {
      ...options,
      onActivity: () => {
        this.#look();
        onActivity?.();
      },
    });
  }

  get state(): ConnectionState {
    return this.#client.state;
  }

  get counters(): Readonly<Counters> {
    return this.#client.counters;
  }

  /** The latest thing that went against the protocol, in words. */
  get lastProblem(): string | null {
    return this.#client.lastProblem;
  }

  get roundTripMs(): number | null {
    return this.#client.roundTripMs;
  }

  /** Whether the open opportunities are those of the gateway: from its answer until the connection is gone. */
  get opportunitiesCurrent(): boolean {
    return this.#opportunitiesKnown;
  }

  /** The gateway's clock at a local time, microseconds. */
  gatewayTime(at: number): number | null {
    return this.#client.gatewayTime(at);
  }

  book(topic: string): Book | null {
    const { venue, symbol } = this.#entries.get(topic)?.wanted ?? {};
    return venue === undefined || symbol === undefined ? null : this.#client.book(venue, symbol);
  }

  tape(topic: string): Tape | undefined {
    return this.#tapes.get(topic);
  }

  stats(topic: string): Stats | undefined {
    return this.#stats.get(topic);
  }

  /** Why the gateway refused what is wanted; null if it did not. */
  problem(topic: string): string | null {
    return this.#entries.get(topic)?.problem ?? null;
  }

  /** Topics that changed since the last call. */
  takeChanged(): Set<string> {
    const topics = new Set(this.#changed);
    this.#changed.clear();
    return topics;
  }

  start(): void {
    this.#running = true;
    void this.#client.connect();
    for (const [topic, entry] of this.#entries) this.#subscribe(topic, entry);
  }

  stop(): void {
    this.#running = false;
    this.#client.close();
  }

  /** Connects now instead of waiting; also the way back when the gateway said not to come. */
  retryNow(): void {
    if (!this.#running) return;
    this.#client.retryNow();
    for (const [topic, entry] of this.#entries) this.#subscribe(topic, entry);
  }

  /** Makes the subscriptions exactly `wanted`: leaves and forgets what is not wanted any more. */
  want(wanted: readonly Wanted[]): void {
    const topics = new Map(wanted.map((each) => [topicOf(each), each]));
    for (const [topic, entry] of this.#entries) {
      if (topics.has(topic)) continue;
      entry.subscription?.close();
      this.#entries.delete(topic);
      this.#tapes.delete(topic);
      this.#stats.delete(topic);
      this.#changed.add(topic);
    }
    for (const [topic, each] of topics) {
      if (this.#entries.has(topic)) continue;
      const entry: Entry = { wanted: each, subscription: null, problem: null, refusedAt: 0, status: 'awaiting' };
      this.#entries.set(topic, entry);
      this.#subscribe(topic, entry);
    }
  }

  #subscribe(topic: string, entry: Entry): void {
    if (!this.#running || entry.subscription || this.#client.state.phase === 'ended') return;
    const { channel, ...names } = entry.wanted;
    entry.subscription = this.#client.subscribe(channel, {
      ...names,
      onMessage: (message) => {
        this.#take(topic, message);
      },
      onConfirmed: () => {
        entry.problem = null;
        if (channel === 'arbitrage') this.#opportunitiesKnown = true;
        this.#changed.add(topic);
      },
      onEnd: (error) => {
        this.#ended(topic, entry, error);
      },
    });
  }

  #ended(topic: string, entry: Entry, error: ClientError): void {
    entry.subscription = null;
    if (!(error instanceof OperationRefused)) return;
    entry.problem = error.reason;
    entry.refusedAt = this.#now();
    this.#changed.add(topic);
  }

  /** Notes what time alone has changed, and tries again what was refused. */
  #look(): void {
    const connected = this.#client.state.phase === 'live' || this.#client.state.phase === 'stale';
    if (!connected && this.#opportunitiesKnown) {
      this.#opportunitiesKnown = false;
      this.#changed.add(OPPORTUNITIES_TOPIC);
    }
    for (const [topic, entry] of this.#entries) {
      if (entry.problem !== null && this.#now() - entry.refusedAt >= RETRY_REFUSED_MS) this.#subscribe(topic, entry);
      const book = entry.wanted.channel === 'book' ? this.book(topic) : null;
      const status = book ? statusOf(book) : 'awaiting';
      if (status !== entry.status) this.#changed.add(topic);
      entry.status = status;
    }
  }

  #take(topic: string, message: FeedMessage): void {
    this.#changed.add(topic);
    switch (message.type) {
      case 'snapshot':
        if (message.channel === 'trades') this.#tape(topic).reset(message.trades);
        else if (message.channel === 'arbitrage') {
          this.#opportunitiesKnown = true;
          this.opportunities.reset(message.opportunities, message.symbol);
        }
        return;
      case 'trades':
        this.#tape(topic).push(message.trades);
        return;
      case 'opportunity':
        this.opportunities.apply(message.opportunity);
        return;
      case 'stats':
        this.#stats.set(topic, message);
        return;
      default:
      // Books are the client's, and a gap of one is in its status.
    }
  }

  #tape(topic: string): Tape {
    let tape = this.#tapes.get(topic);
    if (!tape) {
      tape = new Tape();
      this.#tapes.set(topic, tape);
    }
    return tape;
  }
}
