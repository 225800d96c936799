/**
 * One client's side of the stream without sockets: WebSocket messages in, events and WebSocket messages out.
 *
 * The layer that does the I/O reports what happened (`opened`, `receive`, `closed`, `tick`), handles the events that these
 * return, and sends what `dataToSend` returns. Nothing here does I/O; the clock (milliseconds) is given. A session lives
 * through all reconnections of its client.
 */
import { Book } from './book.ts';
import { GatewayClock } from './clock.ts';
import { Disconnected, OperationRefused, ProtocolError, SubscriptionOverlap, type ClientError } from './errors.ts';
import { asFields, asList, number, text, textOrNull, type Fields } from './fields.ts';
import { feedOf, read, type Channel, type FeedMessage, type FeedName, type GapReason } from './messages.ts';
import { CODES, type End } from './reconnecting.ts';
import { Feed, SubscriptionState, type Operation, type Request } from './subscriptions.ts';
import { decode, json, type Data, type Encoding } from './wire.ts';

export const VERSION = 2;
/** Until hello tells. */
export const DEFAULT_HEARTBEAT_MS = 5_000;
/** A gateway that promised less would have us ping all the time. */
const SHORTEST_HEARTBEAT_MS = 250;
/** Without any message for this many heartbeats the connection counts as stale… */
export const STALE_HEARTBEATS = 2;
/** …and for this many as dead. */
export const DEAD_HEARTBEATS = 3;
/** A feed whose book was found wrong is subscribed again no more often than this. */
export const AGAIN_AFTER_MS = 2_000;
/** An accepted subscription that the gateway refuses after a reconnection is tried again after this. */
export const REFUSED_RETRY_MS = 5_000;

export type Event =
  /** The gateway said hello: the connection is good. */
  | { readonly type: 'ready'; readonly gateway: string }
  /** A message for the user of a subscription. */
  | { readonly type: 'delivered'; readonly key: number; readonly message: FeedMessage }
  /** The gateway accepted a subscription, or added feeds to it. */
  | { readonly type: 'confirmed'; readonly key: number }
  /** The gateway refused a subscription: it is over. */
  | { readonly type: 'refused'; readonly key: number; readonly error: ClientError }
  /** All snapshots that a request asked for. */
  | { readonly type: 'answered'; readonly id: number; readonly messages: readonly FeedMessage[] }
  /** No answer to a request will come. */
  | { readonly type: 'failed'; readonly id: number; readonly error: ClientError }
  /** Call `authenticate`; `expires` (µs) is the present token's end, null without one. */
  | { readonly type: 'tokenNeeded'; readonly expires: number | null }
  | { readonly type: 'authenticated'; readonly identity: string; readonly scopes: readonly string[]; readonly expires: number | null }
  /** A message broke the protocol; what it concerned is asked for again. */
  | { readonly type: 'unreadable'; readonly reason: string }
  /** Close the connection with this code and connect again. */
  | { readonly type: 'hangUp'; readonly code: number; readonly reason: string };

export interface Counters {
  messages: number;
  gaps: number;
  /** Messages that broke the protocol. */
  unreadable: number;
}

export type Liveness = 'live' | 'stale';

interface Asked {
  readonly subscription: SubscriptionState;
  /** Null: all of the subscription. */
  readonly feed: Feed | null;
}

function nameOf(fields: Fields): { venue: string | null; symbol: string | null } {
  return { venue: textOrNull(fields, 'venue'), symbol: textOrNull(fields, 'symbol') };
}

const routeOf = (channel: string, venue: string | null, symbol: string | null) => JSON.stringify([channel, venue, symbol]);

export class Session {
  readonly encoding: Encoding;
  readonly counters: Counters = { messages: 0, gaps: 0, unreadable: 0 };
  readonly #clock: () => number;
  readonly #gatewayClock = new GatewayClock();
  readonly #subscriptions = new Map<number, SubscriptionState>();
  readonly #routes = new Map<string, SubscriptionState | null>();
  readonly #asked = new Map<number, Asked>();
  readonly #snapshots = new Map<number, { readonly operation: Operation; readonly messages: FeedMessage[] }>();
  #outbox: Operation[] = [];
  #nextId = 1;
  #connected = false;
  #established = false;
  #heartbeatMs = DEFAULT_HEARTBEAT_MS;
  #maxBookAge: number | null = null;
  #started = 0;
  #helloAt: number | null = null;
  #lastReceived = 0;
  #pinged = 0;
  #pingId: number | null = null;
  #authId: number | null = null;
  #roundTripMs: number | null = null;
  #spread: readonly [number, number] | null = null;

  constructor({ encoding = json, clock = Date.now }: { readonly encoding?: Encoding; readonly clock?: () => number } = {}) {
    this.encoding = encoding;
    this.#clock = clock;
  }

  // --- for the user -----------------------------------------------------------------------------------------

  /** The gateway's clock at a local time, microseconds; null before its first hello. */
  gatewayTime(at = this.#clock()): number | null {
    return this.#gatewayClock.at(at);
  }

  /** From the latest ping to its pong; null before the first and without a connection. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** Whether anything came within the last heartbeats. */
  get liveness(): Liveness {
    return this.#clock() - this.#lastReceived >= STALE_HEARTBEATS * this.#heartbeatMs ? 'stale' : 'live';
  }

  /** Adds a subscription, to be kept over all reconnections; returns its key. Throws SubscriptionOverlap. */
  subscribe(request: Request): number {
    for (const other of this.#subscriptions.values()) {
      if (!request.overlaps(other.request)) continue;
      throw new SubscriptionOverlap(`${request.toString()}: overlaps the subscription to ${other.request.toString()}`);
    }
    const subscription = new SubscriptionState(this.#newId(), request);
    this.#subscriptions.set(subscription.key, subscription);
    this.#routes.clear();
    if (this.#established) this.#ask(subscription);
    return subscription.key;
  }

  /** Ends a subscription; nothing of it is delivered any more. An unknown key is ignored. */
  unsubscribe(key: number): void {
    const subscription = this.#subscriptions.get(key);
    if (!subscription) return;
    this.#subscriptions.delete(key);
    this.#routes.clear();
    for (const [id, asked] of this.#asked) if (asked.subscription === subscription) this.#asked.delete(id);
    if (this.#established) this.#send(subscription.request.operation('unsubscribe'));
  }

  /** The kept book of a subscribed feed; null if no subscription covers it. */
  book(channel: 'book' | 'l2', venue: string, symbol: string): Book | null {
    const subscription = this.#route(channel, venue, symbol);
    return subscription ? this.#feed(subscription, venue, symbol).book : null;
  }

  /** The user was too slow and messages of the subscription were thrown away: tells gaps, begins anew. */
  overflowed(key: number): Event[] {
    const subscription = this.#subscriptions.get(key);
    if (!subscription) return [];
    const events: Event[] = [];
    for (const feed of subscription.feeds.values()) {
      feed.lost();
      this.#gap(subscription, feed, 'overflow', events);
    }
    if (this.#established) this.#ask(subscription);
    return events;
  }

  /** Asks for the present state of feeds, subscribed or not; `answered` or `failed` has the id. */
  requestSnapshot(request: Request): number {
    const id = this.#newId();
    const operation = request.operation('snapshot', { id });
    this.#snapshots.set(id, { operation, messages: [] });
    if (this.#established) this.#outbox.push(operation);
    return id;
  }

  /** Answers `tokenNeeded`. A token that comes when the connection is gone is not sent on the next one. */
  authenticate(token: string): void {
    if (this.#connected) this.#authId = this.#send({ op: 'auth', token });
  }

  // --- for the I/O ------------------------------------------------------------------------------------------

  /** The connection is up; it was begun at `started`. */
  opened(started: number): void {
    this.#connected = true;
    this.#started = started;
    this.#lastReceived = this.#pinged = this.#clock();
    this.#helloAt = null;
    this.#spread = null;
  }

  /** Takes one WebSocket message. */
  receive(data: Data): Event[] {
    this.#lastReceived = this.#clock();
    let messages: Fields[];
    try {
      messages = decode(data, this.encoding);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      // Which feed it was of is not to be told: all continue from where they are on a new connection.
      return this.#unreadable(error.message);
    }
    const events: Event[] = [];
    for (const fields of messages) {
      this.counters.messages += 1;
      try {
        this.#take(fields, events);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        if (!this.#takeUnreadable(fields, error.message, events)) break;
      }
    }
    return events;
  }

  /**
   * Lets time pass: pings, repeated requests, the watch on a silent connection. To be called some times a second.
   * `reading`: messages are read; false while the user is slower than the gateway, when silence tells nothing.
   */
  tick(reading = true): Event[] {
    const now = this.#clock();
    if (!this.#connected) return [];
    if (!reading) this.#lastReceived = now;
    const silent = now - this.#lastReceived;
    if (silent > DEAD_HEARTBEATS * this.#heartbeatMs) {
      return [{ type: 'hangUp', code: CODES.dead, reason: 'no message for too long' }];
    }
    if (!this.#established) return [];
    if (now - this.#pinged >= this.#heartbeatMs) {
      this.#pinged = now;
      this.#pingId = this.#send({ op: 'ping' });
    }
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.standing === 'refused' && now >= subscription.retryAt) {
        this.#ask(subscription);
      } else if (subscription.standing === 'confirmed') {
        for (const feed of subscription.feeds.values()) {
          if (feed.due && now - feed.asked >= AGAIN_AFTER_MS) this.#askAgain(subscription, feed);
        }
      }
    }
    return [];
  }

  /** The connection has ended: returns how, for `Reconnecting`, and what to tell. */
  closed(code: number, reason: string): readonly [End, Event[]] {
    const lived = this.#helloAt === null ? 0 : Math.max(1, this.#clock() - this.#helloAt);
    this.#connected = this.#established = false;
    this.#pingId = this.#roundTripMs = null;
    this.#outbox = [];
    this.#asked.clear();
    const events = [...this.#snapshots.keys()].map(
      (id): Event => ({ type: 'failed', id, error: new Disconnected('the connection was lost before the answer') }),
    );
    this.#snapshots.clear();
    for (const subscription of this.#subscriptions.values()) {
      subscription.standing = 'waiting';
      for (const feed of subscription.feeds.values()) {
        feed.interrupted = true;
        feed.due = false;
        feed.book?.disconnected();
      }
    }
    return [{ code, reason, lived, spread: this.#spread }, events];
  }

  /** The WebSocket messages to send now, in order. */
  dataToSend(): (string | Uint8Array<ArrayBuffer>)[] {
    const operations = this.#outbox;
    this.#outbox = [];
    return operations.map((operation) => this.encoding.encode(operation));
  }

  // --- messages of the gateway ------------------------------------------------------------------------------

  #take(fields: Fields, events: Event[]): void {
    const type = text(fields, 'type');
    if (fields['channel'] !== undefined && !['subscribed', 'unsubscribed', 'error'].includes(type)) {
      this.#takeFeed(fields, events);
      return;
    }
    switch (type) {
      case 'hello':
        this.#takeHello(fields, events);
        return;
      case 'subscribed':
        this.#takeSubscribed(fields, events);
        return;
      case 'unsubscribed':
        if (fields['id'] === null) this.#takeWithdrawn(fields, events);
        return;
      case 'error':
        this.#takeError(fields, events);
        return;
      case 'pong':
        this.#takePong(fields);
        return;
      case 'done':
        this.#takeDone(number(fields, 'id'), events);
        return;
      case 'authenticated':
        events.push({
          type,
          identity: text(fields, 'identity'),
          scopes: asList(fields['scopes'], 'scopes').map(String),
          expires: fields['expires'] === null ? null : number(fields, 'expires'),
        });
        this.#establish();
        return;
      case 'token_expiring':
        events.push({ type: 'tokenNeeded', expires: number(fields, 'expires') });
        return;
      case 'shutdown':
        this.#takeShutdown(fields);
        return;
      default:
      // heartbeat, and what later versions add.
    }
  }

  #takeHello(fields: Fields, events: Event[]): void {
    const version = number(fields, 'version');
    if (version !== VERSION) throw new ProtocolError(`hello: version ${version}; this client speaks version ${VERSION}`);
    const now = this.#clock();
    this.#helloAt = now;
    this.#heartbeatMs = Math.max(SHORTEST_HEARTBEAT_MS, number(fields, 'heartbeat_ms'));
    this.#maxBookAge = number(fields, 'max_book_age_ms') * 1000;
    this.#gatewayClock.heard(number(fields, 'time'), this.#started, now);
    events.push({ type: 'ready', gateway: text(fields, 'gateway') });
    if (text(fields, 'access') === 'required') events.push({ type: 'tokenNeeded', expires: null });
    else this.#establish();
  }

  #takePong(fields: Fields): void {
    if (fields['id'] === null || number(fields, 'id') !== this.#pingId) return;
    const now = this.#clock();
    this.#pingId = null;
    this.#roundTripMs = now - this.#pinged;
    this.#gatewayClock.heard(number(fields, 'time'), this.#pinged, now);
  }

  #takeDone(id: number, events: Event[]): void {
    const asked = this.#snapshots.get(id);
    if (!asked) return;
    this.#snapshots.delete(id);
    events.push({ type: 'answered', id, messages: asked.messages });
  }

  #takeShutdown(fields: Fields): void {
    if (fields['reconnect_after_ms'] === undefined) return;
    const [least, most] = asList(fields['reconnect_after_ms'], 'reconnect_after_ms').map(Number);
    if (least === undefined || most === undefined) throw new ProtocolError('reconnect_after_ms: expected two numbers');
    this.#spread = [least, most];
  }

  #takeSubscribed(fields: Fields, events: Event[]): void {
    const asked = this.#asked.get(number(fields, 'id'));
    if (!asked) return;
    const { subscription } = asked;
    subscription.standing = 'confirmed';
    subscription.everConfirmed = true;
    for (const entry of asList(fields['feeds'], 'feeds')) {
      const named = asFields(entry, 'feeds');
      const { venue, symbol } = nameOf(named);
      const feed = this.#feed(subscription, venue, symbol);
      feed.asked = this.#clock();
      if (!feed.interrupted) continue;
      feed.interrupted = false;
      if (named['recovered'] === true) feed.book?.continued();
      else this.#beginAnew(subscription, feed, 'not_recovered', events);
    }
    events.push({ type: 'confirmed', key: subscription.key });
  }

  /** Feeds that the latest credentials do not cover: nothing of them follows. */
  #takeWithdrawn(fields: Fields, events: Event[]): void {
    const channel = text(fields, 'channel');
    for (const entry of asList(fields['feeds'], 'feeds')) {
      const { venue, symbol } = nameOf(asFields(entry, 'feeds'));
      const subscription = this.#route(channel, venue, symbol);
      if (subscription) this.#beginAnew(subscription, this.#feed(subscription, venue, symbol), 'forbidden', events);
    }
  }

  #takeError(fields: Fields, events: Event[]): void {
    const error = new OperationRefused(text(fields, 'code'), text(fields, 'message'));
    const id = typeof fields['id'] === 'string' || fields['id'] === null ? null : number(fields, 'id');
    if (id === null) return;
    if (this.#snapshots.delete(id)) {
      events.push({ type: 'failed', id, error });
      return;
    }
    if (id === this.#authId) {
      // It would be closed with this code anyway, when the time for credentials is over.
      events.push({ type: 'hangUp', code: CODES.unauthorized, reason: error.message });
      return;
    }
    const asked = this.#asked.get(id);
    if (!asked) return;
    this.#asked.delete(id);
    const { subscription, feed } = asked;
    const wait = fields['retry_after_ms'] === undefined ? REFUSED_RETRY_MS : number(fields, 'retry_after_ms');
    if (feed) {
      feed.asked = this.#clock() + wait - AGAIN_AFTER_MS;
      feed.due = true;
    } else if (error.code === 'rate_limited' || (subscription.everConfirmed && error.code === 'unknown_instrument')) {
      // After its restart a gateway may not know yet what was there before.
      subscription.standing = 'refused';
      subscription.retryAt = this.#clock() + wait;
    } else {
      this.unsubscribe(subscription.key);
      events.push({ type: 'refused', key: subscription.key, error });
    }
  }

  #takeFeed(fields: Fields, events: Event[]): void {
    if (fields['id'] !== undefined && fields['id'] !== null) {
      // A snapshot on demand, which changes no state.
      const asked = this.#snapshots.get(number(fields, 'id'));
      const answer = asked && read(fields);
      if (answer) asked.messages.push(answer);
      return;
    }
    const { channel, venue, symbol } = feedOf(fields);
    const subscription = this.#route(channel, venue, symbol);
    // Null: in flight while the user unsubscribed.
    const message = subscription && read(fields);
    if (!message) return;
    const feed = this.#feed(subscription, venue, symbol);
    if (message.channel === 'book' || message.channel === 'l2') {
      const outcome = feed.book?.apply(message) ?? 'applied';
      if (outcome === 'ignored') return;
      if (outcome !== 'applied') {
        this.#foundWrong(subscription, feed, outcome, events);
        return;
      }
      if (message.type === 'snapshot') feed.due = false;
    } else if ('gap' in message && message.gap) {
      this.#gap(subscription, feed, 'dropped', events);
    }
    feed.passed(message);
    events.push({ type: 'delivered', key: subscription.key, message });
  }

  /** Returns whether the connection can go on. */
  #takeUnreadable(fields: Fields, reason: string, events: Event[]): boolean {
    const named = typeof fields['channel'] === 'string' ? feedOf(fields) : null;
    const subscription = named && this.#route(named.channel, named.venue, named.symbol);
    if (!subscription) {
      events.push(...this.#unreadable(reason));
      return false;
    }
    this.counters.unreadable += 1;
    events.push({ type: 'unreadable', reason });
    this.#foundWrong(subscription, this.#feed(subscription, named.venue, named.symbol), 'unreadable', events);
    return true;
  }

  #unreadable(reason: string): Event[] {
    this.counters.unreadable += 1;
    return [
      { type: 'unreadable', reason },
      { type: 'hangUp', code: CODES.broken, reason },
    ];
  }

  // --- feeds ------------------------------------------------------------------------------------------------

  #foundWrong(subscription: SubscriptionState, feed: Feed, reason: GapReason, events: Event[]): void {
    this.#beginAnew(subscription, feed, reason, events);
    if (this.#clock() - feed.asked >= AGAIN_AFTER_MS) this.#askAgain(subscription, feed);
    else feed.due = true;
  }

  #beginAnew(subscription: SubscriptionState, feed: Feed, reason: GapReason, events: Event[]): void {
    feed.lost();
    feed.book?.doubt(reason);
    this.#gap(subscription, feed, reason, events);
  }

  #gap(subscription: SubscriptionState, { name }: Feed, reason: GapReason, events: Event[]): void {
    this.counters.gaps += 1;
    events.push({ type: 'delivered', key: subscription.key, message: { type: 'gap', ...name, reason } });
  }

  #route(channel: string, venue: string | null, symbol: string | null): SubscriptionState | null {
    const route = routeOf(channel, venue, symbol);
    let found = this.#routes.get(route);
    if (found === undefined) {
      const all = [...this.#subscriptions.values()];
      found = all.find(({ request }) => request.channel === channel && request.covers(venue, symbol)) ?? null;
      this.#routes.set(route, found);
    }
    return found;
  }

  #feed(subscription: SubscriptionState, venue: string | null, symbol: string | null): Feed {
    const { channel } = subscription.request;
    const route = routeOf(channel, venue, symbol);
    let feed = subscription.feeds.get(route);
    if (!feed) {
      const name: FeedName = { channel, venue, symbol };
      feed = new Feed(name, this.#newBook(channel, venue, symbol), this.#clock());
      subscription.feeds.set(route, feed);
    }
    return feed;
  }

  #newBook(channel: Channel, venue: string | null, symbol: string | null): Book | null {
    if ((channel !== 'book' && channel !== 'l2') || venue === null || symbol === null) return null;
    return new Book(venue, symbol, { gatewayTime: () => this.gatewayTime(), maxAge: () => this.#maxBookAge });
  }

  // --- operations -------------------------------------------------------------------------------------------

  #establish(): void {
    if (this.#established) return;
    this.#established = true;
    for (const subscription of this.#subscriptions.values()) this.#ask(subscription);
    for (const { operation } of this.#snapshots.values()) this.#outbox.push(operation);
  }

  #ask(subscription: SubscriptionState): void {
    subscription.standing = 'asked';
    for (const operation of subscription.operations()) this.#asked.set(this.#send(operation), { subscription, feed: null });
  }

  #askAgain(subscription: SubscriptionState, feed: Feed): void {
    feed.asked = this.#clock();
    feed.due = false;
    this.#asked.set(this.#send(subscription.again(feed)), { subscription, feed });
  }

  #send(operation: Operation): number {
    const id = this.#newId();
    this.#outbox.push({ ...operation, id });
    return id;
  }

  #newId(): number {
    return this.#nextId++;
  }
}
