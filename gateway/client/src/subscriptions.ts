/** What a client has subscribed to, and how far it has got with each feed. */
import type { Book } from './book.ts';
import { WITHOUT_SYMBOL, type Channel, type FeedMessage, type FeedName } from './messages.ts';
import { intersect, matches } from './patterns.ts';

/** Options of the channels, as in the protocol. */
export interface SubscribeOptions {
  /** book: 1, 5, 10, 20. */
  readonly levels?: number;
  /** 0 (each change), 100, 250, 1000. */
  readonly interval_ms?: number;
  /** book, l2. */
  readonly checksum?: boolean;
  /** candles: seconds. */
  readonly candle_interval?: number;
  /** false: no snapshot at the beginning where none is needed. */
  readonly snapshot?: boolean;
}

/** Where to continue after a reconnection. */
export interface Position {
  readonly venue: string | null;
  readonly symbol: string | null;
  readonly epoch?: string;
  readonly sequence?: number;
  readonly trade_id?: string;
}

export type Operation = Readonly<Record<string, unknown>>;

const MAX_NAMES = 200;
/** Of an operation's positions: the gateway takes messages of up to 16 KiB. */
const MAX_POSITION_BYTES = 10_000;
/** Channels that take positions to continue from. */
const RECOVERABLE: ReadonlySet<Channel> = new Set<Channel>(['book', 'l2', 'bbo', 'trades']);

function covered(patterns: readonly string[], name: string | null): boolean {
  if (patterns.length === 0) return true;
  // What belongs to no venue (a service) is covered by "all venues".
  if (name === null) return patterns.includes('*');
  return patterns.some((pattern) => matches(pattern, name));
}

function overlap(ours: readonly string[], theirs: readonly string[]): boolean {
  if (ours.length === 0 || theirs.length === 0) return true;
  const exact = new Set(ours);
  return theirs.some((other) => exact.has(other) || ours.some((one) => (one + other).includes('*') && intersect(one, other)));
}

const oneOrList = (names: readonly string[]) => (names.length === 1 ? names[0] : names);

/** A subscription as the user asked for it; no names where the channel takes none, or for all. */
export class Request {
  readonly channel: Channel;
  readonly venues: readonly string[];
  readonly symbols: readonly string[];
  readonly options: SubscribeOptions;

  constructor(channel: Channel, venues: readonly string[], symbols: readonly string[], options: SubscribeOptions = {}) {
    this.channel = channel;
    this.venues = venues;
    this.symbols = symbols;
    this.options = options;
  }

  covers(venue: string | null, symbol: string | null): boolean {
    return covered(this.venues, venue) && (WITHOUT_SYMBOL.has(this.channel) || covered(this.symbols, symbol));
  }

  /** Whether a feed could belong to both. */
  overlaps(other: Request): boolean {
    if (this.channel !== other.channel || !overlap(this.venues, other.venues)) return false;
    return WITHOUT_SYMBOL.has(this.channel) || overlap(this.symbols, other.symbols);
  }

  operation(op: 'subscribe' | 'unsubscribe' | 'snapshot', fields: Operation = {}): Operation {
    return {
      op,
      channel: this.channel,
      ...(this.venues.length > 0 ? { venue: oneOrList(this.venues) } : {}),
      ...(this.symbols.length > 0 ? { symbol: oneOrList(this.symbols) } : {}),
      ...(op === 'unsubscribe' ? {} : this.options),
      ...fields,
    };
  }

  toString(): string {
    return [this.channel, this.venues.join(','), this.symbols.join(',')].filter((part) => part !== '').join(' ');
  }
}

/** The state of one feed. */
export class Feed {
  readonly name: FeedName;
  /** Of the channels book and l2. */
  readonly book: Book | null;
  /** When it was last subscribed to, local milliseconds. */
  asked: number;
  /** A new snapshot has to be asked for as soon as the pause between two allows. */
  due = false;
  /** The connection was lost since its last message, and nobody has said yet how it goes on. */
  interrupted = false;
  #position: Position | null = null;

  constructor(name: FeedName, book: Book | null, asked: number) {
    this.name = name;
    this.book = book;
    this.asked = asked;
  }

  /** Where to continue after a reconnection; null if a new beginning is needed. */
  get position(): Position | null {
    return this.#position;
  }

  /** Notes how far `message` brought us. */
  passed(message: FeedMessage): void {
    const { venue, symbol } = this.name;
    if (message.channel === 'trades' && message.type !== 'gap') {
      const last = message.trades.at(-1);
      if (last) this.#position = { venue, symbol, trade_id: last.id };
    } else if (message.type === 'bbo' || ((message.channel === 'book' || message.channel === 'l2') && message.type !== 'gap')) {
      const inStep = message.type === 'bbo' ? message.valid : (this.book?.inStep ?? false);
      this.#position = inStep ? { venue, symbol, epoch: message.epoch, sequence: message.sequence } : null;
    }
  }

  /** What comes next does not follow: there is no position. */
  lost(): void {
    this.#position = null;
  }
}

const size = (position: Position) => new TextEncoder().encode(JSON.stringify(position)).length;

function fitting(positions: readonly Position[]): readonly Position[] {
  let total = 0;
  return positions.slice(0, MAX_NAMES).filter((position) => {
    total += size(position);
    return total <= MAX_POSITION_BYTES;
  });
}

export class SubscriptionState {
  readonly key: number;
  readonly request: Request;
  /** waiting: for a connection. refused: will be tried again. */
  standing: 'waiting' | 'asked' | 'confirmed' | 'refused' = 'waiting';
  /** The gateway has accepted it before, so that a refusal is only for now. */
  everConfirmed = false;
  /** Local milliseconds, while refused. */
  retryAt = 0;
  readonly feeds = new Map<string, Feed>();

  constructor(key: number, request: Request) {
    this.key = key;
    this.request = request;
  }

  /**
   * The operations that (re)establish it, with the positions of its feeds. Exact names are asked for in several messages
   * if one cannot hold the positions; a pattern is one operation, and feeds beyond the limit begin anew.
   */
  operations(): Operation[] {
    const { channel, venues, symbols, options } = this.request;
    const positions = [...this.feeds.values()].map(({ position }) => position).filter((position) => position !== null);
    if (!RECOVERABLE.has(channel) || positions.length === 0) return [this.request.operation('subscribe')];
    const since = fitting(positions);
    if (since.length === positions.length || [...venues, ...symbols].some((name) => name.includes('*'))) {
      return [this.request.operation('subscribe', { since })];
    }
    const step = Math.max(1, Math.floor(50 / venues.length));
    const operations: Operation[] = [];
    for (let at = 0; at < symbols.length; at += step) {
      const part = symbols.slice(at, at + step);
      const some = fitting(positions.filter(({ symbol }) => symbol !== null && part.includes(symbol)));
      const request = new Request(channel, venues, part, options);
      operations.push(request.operation('subscribe', some.length > 0 ? { since: some } : {}));
    }
    return operations;
  }

  /** The operation that asks for a new beginning of one feed. */
  again({ name: { channel, venue, symbol } }: Feed): Operation {
    const names = (name: string | null) => (name === null ? [] : [name]);
    return new Request(channel, names(venue), names(symbol), this.request.options).operation('subscribe');
  }
}
