/**
 * Between the stream and React: immutable pictures, refreshed at most once per animation frame.
 *
 * Messages only change the market. At the next frame every picture that somebody looks at and whose topic changed is
 * made anew, and only its own components render.
 */
import type { ConnectionState, OpportunityFields, Stats } from '@alphapulse/client';

import { Market, OPPORTUNITIES_TOPIC, topicOf, type MarketOptions, type Wanted } from '../stream/market.ts';
import type { Watched } from '../stream/opportunities.ts';
import type { ServerTime } from './freshness.ts';
import { FrameBundle, type FrameSource } from './frames.ts';
import { EMPTY_LADDER, ladderOf, type Ladder } from './ladder.ts';
import { LivePicture, Shelf, type Picture } from './picture.ts';
import { quotesOf, type QuotesPicture } from './quotes.ts';
import { tapeOf, type TapePicture } from './tape.ts';

export interface BookPicture {
  readonly ladder: Ladder;
  /** Why the server refused the subscription. */
  readonly problem: string | null;
}

export interface ArbitragePicture {
  /** Null while it is not known what is open: before the first snapshot, and without a connection. */
  readonly open: readonly Watched[] | null;
  /** The latest, newest first. */
  readonly closed: readonly Watched[];
  readonly closedTotal: number;
}

export interface ConnectionPicture {
  readonly state: ConnectionState;
  readonly messagesPerSecond: number;
  readonly gaps: number;
  readonly unreadable: number;
  readonly roundTripMs: number | null;
  readonly problem: string | null;
}

/** Where no book is chosen yet. */
export const EMPTY_BOOK: Picture<BookPicture> = {
  read: () => NO_BOOK,
  subscribe: () => () => undefined,
};
const NO_BOOK: BookPicture = { ladder: EMPTY_LADDER, problem: null };

const RATE_WINDOW_MS = 2_000;

export type StoreOptions = Omit<MarketOptions, 'onActivity'> & { readonly frames?: FrameSource };

export class Store {
  readonly #market: Market;
  readonly #frames: FrameBundle;
  readonly #now: () => number;
  readonly #books = new Shelf<BookPicture>();
  readonly #tapes = new Shelf<TapePicture>();
  readonly #stats = new Shelf<Stats | null>();
  readonly #quotes = new Map<string, { readonly picture: LivePicture<QuotesPicture>; readonly sources: readonly string[] }>();
  readonly opportunities: LivePicture<ArbitragePicture>;
  readonly connection: LivePicture<ConnectionPicture>;
  /** Flushes so far; for measurements. */
  flushes = 0;
  #rate = 0;
  #rateFrom = { time: 0, messages: 0 };

  constructor({ frames, ...options }: StoreOptions) {
    this.#now = options.now ?? Date.now;
    this.#frames = new FrameBundle(() => {
      this.#flush();
    }, frames);
    this.#market = new Market({
      ...options,
      onActivity: () => {
        this.#frames.request();
      },
    });
    this.opportunities = new LivePicture<ArbitragePicture>(() => ({
      open: this.#market.opportunitiesCurrent ? this.#market.opportunities.open : null,
      closed: [...this.#market.opportunities.closed],
      closedTotal: this.#market.opportunities.closedTotal,
    }));
    this.connection = new LivePicture(() => this.#connectionPicture());
  }

  start(): void {
    this.#market.start();
  }

  stop(): void {
    this.#market.stop();
    this.#frames.cancel();
  }

  reconnectNow(): void {
    this.#market.retryNow();
  }

  /** The gateway's clock at a local time. */
  readonly serverTime: ServerTime = (now) => this.#market.gatewayTime(now);

  /** Subscribes to exactly these; pictures of topics left are dropped. */
  want(wanted: readonly Wanted[]): void {
    this.#market.want(wanted);
    const topics = new Set(wanted.map(topicOf));
    this.#books.keep(topics);
    this.#tapes.keep(topics);
    this.#stats.keep(topics);
    for (const [name, { sources }] of this.#quotes) {
      if (!sources.every((topic) => topics.has(topic))) this.#quotes.delete(name);
    }
    this.#frames.request();
  }

  book(venue: string, symbol: string): Picture<BookPicture> {
    const topic = topicOf({ channel: 'book', venue, symbol });
    return this.#books.at(topic, (before) => ({
      ladder: ladderOf(this.#market.book(topic), before?.ladder),
      problem: this.#market.problem(topic),
    }));
  }

  /** The quotes of one symbol on these venues; follows their books. */
  quotes(venues: readonly string[], symbol: string): Picture<QuotesPicture> {
    const name = `quotes|${venues.join(',')}|${symbol}`;
    const found = this.#quotes.get(name);
    if (found) return found.picture;
    const picture = new LivePicture(() => quotesOf(venues.map((venue) => [venue, this.book(venue, symbol).read().ladder])));
    const sources = venues.map((venue) => topicOf({ channel: 'book', venue, symbol }));
    this.#quotes.set(name, { picture, sources });
    return picture;
  }

  tape(venue: string, symbol: string): Picture<TapePicture> {
    const topic = topicOf({ channel: 'trades', venue, symbol });
    return this.#tapes.at(topic, () => tapeOf(this.#market.tape(topic)));
  }

  stats(venue: string, symbol: string): Picture<Stats | null> {
    const topic = topicOf({ channel: 'stats', venue, symbol });
    return this.#stats.at(topic, () => this.#market.stats(topic) ?? null);
  }

  /** Closed opportunities from before this page was opened. */
  addOpportunities(opportunities: readonly OpportunityFields[]): void {
    for (const opportunity of opportunities) {
      if (opportunity.state === 'closed') this.#market.opportunities.apply(opportunity);
    }
    this.opportunities.refresh();
  }

  #connectionPicture(): ConnectionPicture {
    const { gaps, unreadable } = this.#market.counters;
    return {
      state: this.#market.state,
      messagesPerSecond: this.#rate,
      gaps,
      unreadable,
      roundTripMs: this.#market.roundTripMs,
      problem: this.#market.lastProblem,
    };
  }

  #flush(): void {
    this.flushes += 1;
    const changed = this.#market.takeChanged();
    this.#books.refresh(changed);
    this.#tapes.refresh(changed);
    this.#stats.refresh(changed);
    if (changed.has(OPPORTUNITIES_TOPIC)) this.opportunities.refresh();
    for (const { picture, sources } of this.#quotes.values()) {
      if (sources.some((topic) => changed.has(topic))) picture.refresh();
    }
    const before = this.connection.read();
    const now = this.#now();
    const rateDue = now - this.#rateFrom.time >= RATE_WINDOW_MS;
    if (rateDue) {
      const { messages } = this.#market.counters;
      this.#rate = Math.round(((messages - this.#rateFrom.messages) * 1000) / (now - this.#rateFrom.time));
      this.#rateFrom = { time: now, messages };
    }
    if (rateDue || before.state !== this.#market.state || before.problem !== this.#market.lastProblem) {
      this.connection.refresh();
    }
  }
}
