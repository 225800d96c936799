/**
 * One client's side of the stream, without the socket: text and times in, messages to send out.
 *
 * The adapter (connection.ts) tells it what happened (`opened`, `received`, `closed`, `tick`) and sends what
 * `messagesToSend` returns. Nothing here does I/O, reads a clock or knows React.
 */
import { Book } from './book.ts';
import { ServerClock } from './clock.ts';
import { decode } from './decode.ts';
import { Heartbeat, type Liveness } from './heartbeat.ts';
import { OpportunityBoard } from './opportunities.ts';
import {
  PROTOCOL_VERSION,
  topicOf,
  type BookMessage,
  type ClientMessage,
  type ServerMessage,
  type StatsMessage,
  type Subscription,
} from './protocol.ts';
import { Tape } from './tape.ts';

/** A book whose snapshot does not come, or that keeps having gaps, is asked for again no more often than this. */
export const RESUBSCRIBE_EVERY_MS = 2_000;
/** A refused subscription (an instrument not known yet) is tried again after this. */
export const RETRY_REFUSED_MS = 5_000;

export interface Counters {
  messages: number;
  /** Sequence gaps seen in books. */
  gaps: number;
  /** Messages that broke the protocol. */
  unreadable: number;
}

/** A subscription's standing: asked for, confirmed, or refused with the server's words. */
export interface Standing {
  readonly state: 'requested' | 'confirmed' | 'refused';
  readonly problem: string | null;
}

interface Entry {
  readonly subscription: Subscription;
  id: number;
  state: Standing['state'];
  problem: string | null;
  /** When it was last asked for. */
  asked: number;
  /** A gap wants a new snapshot as soon as RESUBSCRIBE_EVERY_MS allows. */
  due: boolean;
}

export const OPPORTUNITIES_TOPIC = topicOf({ channel: 'arbitrage', symbol: '*' });
export const CONNECTION_TOPIC = 'connection';

export class Session {
  readonly counters: Counters = { messages: 0, gaps: 0, unreadable: 0 };
  readonly opportunities = new OpportunityBoard();
  readonly heartbeat = new Heartbeat();
  readonly clock = new ServerClock();
  readonly #books = new Map<string, Book>();
  readonly #tapes = new Map<string, Tape>();
  readonly #stats = new Map<string, StatsMessage>();
  readonly #entries = new Map<string, Entry>();
  readonly #changed = new Set<string>();
  #outbox: ClientMessage[] = [];
  #connected = false;
  #nextId = 1;
  #lastProblem: string | null = null;
  #opportunitiesCurrent = false;
  #maxBookAge = Number.POSITIVE_INFINITY;
  #startedAt = 0;

  /** The latest thing that went against the protocol, in words. */
  get lastProblem(): string | null {
    return this.#lastProblem;
  }

  /** Whether the open opportunities are those of the server: from its snapshot until the connection is gone. */
  get opportunitiesCurrent(): boolean {
    return this.#opportunitiesCurrent;
  }

  book(topic: string): Book | undefined {
    return this.#books.get(topic);
  }

  tape(topic: string): Tape | undefined {
    return this.#tapes.get(topic);
  }

  stats(topic: string): StatsMessage | undefined {
    return this.#stats.get(topic);
  }

  standing(topic: string): Standing | undefined {
    return this.#entries.get(topic);
  }

  /** Topics that changed since the last call. */
  takeChanged(): string[] {
    const topics = [...this.#changed];
    this.#changed.clear();
    return topics;
  }

  messagesToSend(): ClientMessage[] {
    const messages = this.#outbox;
    this.#outbox = [];
    return messages;
  }

  /** Makes the subscriptions exactly `wanted`: subscribes to what is new, leaves and forgets what is not wanted any more. */
  want(wanted: readonly Subscription[], now: number): void {
    const topics = new Map(wanted.map((subscription) => [topicOf(subscription), subscription]));
    for (const [topic, entry] of this.#entries) {
      if (topics.has(topic)) continue;
      this.#entries.delete(topic);
      this.#books.delete(topic);
      this.#tapes.delete(topic);
      this.#stats.delete(topic);
      this.#changed.add(topic);
      if (this.#connected) this.#send('unsubscribe', entry);
    }
    for (const [topic, subscription] of topics) {
      if (this.#entries.has(topic)) continue;
      const entry: Entry = { subscription, id: 0, state: 'requested', problem: null, asked: now, due: false };
      this.#entries.set(topic, entry);
      if (this.#connected) this.#subscribe(entry, now);
    }
  }

  /** `startedAt`: when the connection was asked for; what the server says comes from after that. */
  opened(now: number, startedAt = now): void {
    this.#connected = true;
    this.#startedAt = startedAt;
    this.heartbeat.opened(now);
    this.#outbox = [];
    for (const entry of this.#entries.values()) this.#subscribe(entry, now);
    this.#changed.add(CONNECTION_TOPIC);
  }

  closed(): void {
    this.#connected = false;
    this.#outbox = [];
    this.heartbeat.closed();
    this.#opportunitiesCurrent = false;
    this.#changed.add(OPPORTUNITIES_TOPIC);
    for (const [topic, book] of this.#books) {
      book.distrust();
      this.#changed.add(topic);
    }
    this.#changed.add(CONNECTION_TOPIC);
  }

  /** One WebSocket message. */
  received(data: string, now: number): void {
    this.heartbeat.received(now);
    for (const message of decode(data)) {
      this.counters.messages += 1;
      this.#take(message, now);
    }
  }

  /** To be called a few times per heartbeat while connected: pings, retries, and says how alive the connection is. */
  tick(now: number): Liveness {
    if (this.heartbeat.pingDue(now)) {
      const id = this.#nextId++;
      this.heartbeat.pinged(id, now);
      this.#outbox.push({ op: 'ping', id });
    }
    for (const [topic, entry] of this.#entries) {
      const elapsed = now - entry.asked;
      if (entry.state === 'refused') {
        if (elapsed >= RETRY_REFUSED_MS) this.#subscribe(entry, now);
      } else if (elapsed >= RESUBSCRIBE_EVERY_MS && (entry.due || this.#snapshotOverdue(topic, entry, elapsed))) {
        this.#resubscribe(entry, now);
      }
    }
    for (const [topic, book] of this.#books) this.#judge(topic, book, now);
    return this.heartbeat.liveness(now);
  }

  /** The book's age goes on though no message comes. */
  #judge(topic: string, book: Book, now: number): void {
    const serverTime = this.clock.at(now);
    if (serverTime !== null && book.judge(serverTime, this.#maxBookAge)) this.#changed.add(topic);
  }

  #snapshotOverdue(topic: string, entry: Entry, elapsed: number): boolean {
    if (entry.subscription.channel !== 'book' || elapsed < this.heartbeat.everyMs) return false;
    return (this.#books.get(topic)?.status ?? 'awaiting') === 'awaiting';
  }

  #take(message: ServerMessage, now: number): void {
    switch (message.type) {
      case 'hello':
        this.heartbeat.promised(message.heartbeatMs);
        this.#maxBookAge = message.maxBookAgeMs * 1000;
        this.clock.heard(message.time, this.#startedAt, now);
        if (message.version !== PROTOCOL_VERSION) {
          this.#complain(`The gateway speaks protocol version ${message.version}, this page version ${PROTOCOL_VERSION}.`);
        }
        return;
      case 'subscribed':
        this.#confirm(message.id);
        return;
      case 'pong':
        this.#takePong(message.id, message.time, now);
        return;
      case 'error':
        this.#refuse(message.id, message.message);
        return;
      case 'delta':
        this.#takeBook(message, now);
        return;
      case 'trades':
        this.#takeTrades(topicOf(message), (tape) => {
          tape.push(message.trades);
        });
        return;
      case 'snapshot':
        if (message.channel === 'book') {
          this.#takeBook(message, now);
        } else if (message.channel === 'trades') {
          this.#takeTrades(topicOf(message), (tape) => {
            tape.reset(message.trades);
          });
        } else {
          this.opportunities.reset(message.opportunities);
          this.#opportunitiesCurrent = true;
          this.#changed.add(OPPORTUNITIES_TOPIC);
        }
        return;
      case 'opportunity':
        this.opportunities.apply(message.opportunity);
        this.#changed.add(OPPORTUNITIES_TOPIC);
        return;
      case 'stats': {
        const topic = topicOf({ channel: 'stats', venue: message.venue, symbol: message.symbol });
        if (!this.#entries.has(topic)) return;
        this.#stats.set(topic, message);
        this.#changed.add(topic);
        return;
      }
      case 'unreadable':
        this.counters.unreadable += 1;
        this.#complain(message.reason);
        return;
      case 'other':
        return;
    }
  }

  #takeBook(message: BookMessage, now: number): void {
    const topic = topicOf(message);
    const entry = this.#entries.get(topic);
    // In flight while the page unsubscribed.
    if (!entry) return;
    let book = this.#books.get(topic);
    if (!book) {
      book = new Book();
      this.#books.set(topic, book);
    }
    const outcome = book.apply(message);
    this.#judge(topic, book, now);
    if (outcome === 'ignored') return;
    this.#changed.add(topic);
    if (message.type === 'snapshot') entry.due = false;
    if (outcome !== 'gap') return;
    this.counters.gaps += 1;
    if (now - entry.asked >= RESUBSCRIBE_EVERY_MS) this.#resubscribe(entry, now);
    else entry.due = true;
  }

  #takePong(id: number | null, time: number, now: number): void {
    if (this.heartbeat.ponged(id, now)) this.clock.heard(time, now - (this.heartbeat.roundTripMs ?? 0), now);
  }

  #takeTrades(topic: string, change: (tape: Tape) => void): void {
    if (!this.#entries.has(topic)) return;
    let tape = this.#tapes.get(topic);
    if (!tape) {
      tape = new Tape();
      this.#tapes.set(topic, tape);
    }
    change(tape);
    this.#changed.add(topic);
  }

  #entryOf(id: number | null): [string, Entry] | undefined {
    if (id === null) return undefined;
    return [...this.#entries].find(([, entry]) => entry.id === id);
  }

  #confirm(id: number | null): void {
    const found = this.#entryOf(id);
    if (!found) return;
    found[1].state = 'confirmed';
    found[1].problem = null;
    this.#changed.add(found[0]);
  }

  #refuse(id: number | null, problem: string): void {
    const found = this.#entryOf(id);
    if (!found) {
      this.#complain(problem);
      return;
    }
    found[1].state = 'refused';
    found[1].problem = problem;
    this.#changed.add(found[0]);
  }

  #complain(problem: string): void {
    this.#lastProblem = problem;
    this.#changed.add(CONNECTION_TOPIC);
  }

  #resubscribe(entry: Entry, now: number): void {
    this.#send('unsubscribe', entry);
    this.#subscribe(entry, now);
  }

  #subscribe(entry: Entry, now: number): void {
    entry.state = 'requested';
    entry.asked = now;
    entry.due = false;
    entry.id = this.#send('subscribe', entry);
  }

  #send(op: 'subscribe' | 'unsubscribe', { subscription }: Entry): number {
    const id = this.#nextId++;
    this.#outbox.push({ op, id, ...subscription });
    return id;
  }
}
