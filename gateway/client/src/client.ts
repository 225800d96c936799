/** The client: a `Session` on WebSocket connections, one after the other. All timers and sockets live here. */
import type { Book } from './book.ts';
import { deferred, type Deferred } from './deferred.ts';
import { ClientClosed, ClientError, CredentialsRefused, Disconnected } from './errors.ts';
import type { Channel, FeedMessage } from './messages.ts';
import { CODES, isLoopback, Reconnecting, refusalOf, type End } from './reconnecting.ts';
import { Session, type Counters, type Event } from './session.ts';
import { Request, type SubscribeOptions } from './subscriptions.ts';
import { json, type Data, type Encoding } from './wire.ts';

/** What a socket reports. */
export interface SocketEvents {
  readonly opened: () => void;
  readonly received: (data: Data) => void;
  readonly closed: (code: number, reason: string) => void;
}

/** The part of a WebSocket that is used. One that can be paused (Node's `ws`) lets a slow user slow the gateway down. */
export interface Socket {
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code: number, reason?: string): void;
  pause?(): void;
  resume?(): void;
}

export type OpenSocket = (url: string, subprotocol: string, events: SocketEvents) => Socket;

/** The browser's class, Node's (from 22 on), or that of `ws`. */
export interface WebSocketLike extends Socket {
  binaryType: string;
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
}

/** Opens sockets of a WebSocket class. */
export function socketsOf(kind: new (url: string, subprotocols: string[]) => unknown): OpenSocket {
  return (url, subprotocol, events) => {
    const socket = new kind(url, [subprotocol]) as WebSocketLike;
    socket.binaryType = 'arraybuffer';
    socket.onopen = events.opened;
    socket.onmessage = ({ data }: { data: Data }) => {
      events.received(data);
    };
    // A `close` follows with all that may be known.
    socket.onerror = () => undefined;
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      events.closed(code, reason);
    };
    return socket;
  };
}

export type ConnectionState =
  | { readonly phase: 'connecting' }
  | { readonly phase: 'live' }
  /** Connected, but nothing came for two heartbeats. */
  | { readonly phase: 'stale' }
  | { readonly phase: 'waiting'; readonly retryAt: number; readonly reason: string }
  /** The gateway said not to come back, or the client was closed. */
  | { readonly phase: 'ended'; readonly reason: string };

export interface ClientOptions {
  /**
   * Token or API key, or a function that gives one: it is called for each connection, and before a token expires. It is
   * sent in band, never in the URL. What it throws ends the client.
   */
  readonly token?: string | (() => string | Promise<string>);
  /** `json`, or `msgpack` of `@alphapulse/client/msgpack`. */
  readonly encoding?: Encoding;
  /** A WebSocket class, where the platform has none, or `ws` for its backpressure; or a function that opens sockets. */
  readonly webSocket?: new (url: string, subprotocols: string[]) => unknown;
  readonly openSocket?: OpenSocket;
  /** Messages that a subscription holds for its user. */
  readonly queueSize?: number;
  /** Called after anything that may have changed books, counters or the connection's state. */
  readonly onActivity?: () => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

export interface Selection {
  /** A name, a pattern with `*`, or a list of them. */
  readonly venue?: string | readonly string[];
  readonly symbol?: string | readonly string[];
}

export interface Listener {
  /** Messages are handed over at once instead of waiting for iteration. */
  readonly onMessage?: (message: FeedMessage) => void;
  /** The gateway has accepted the subscription, again after each reconnection, or added feeds to it. */
  readonly onConfirmed?: () => void;
  /** The subscription is over: refused, or the client ended. Not called by `close`. */
  readonly onEnd?: (error: ClientError) => void;
}

const TICK_MS = 250;
/** A connection attempt without an answer is given up after this. */
const CONNECT_TIMEOUT_MS = 10_000;
const QUEUE_SIZE = 1_024;

const WORDS = new Map<number, string>([
  [1000, 'closed by the gateway'],
  [1001, 'the gateway is going away'],
  [1006, 'connection lost'],
  [1011, 'the gateway had an internal error'],
  [CODES.goingAway, 'the gateway is restarting'],
  [1013, 'the gateway asks to try again later'],
  [CODES.dead, 'no message for too long'],
]);

function list(names: string | readonly string[] | undefined): readonly string[] {
  if (names === undefined) return [];
  return typeof names === 'string' ? [names] : names;
}

/** What the client offers its subscriptions. */
interface Owner {
  readonly queueSize: number;
  forget(key: number): void;
  /** The user has taken a message: the socket may be read again, or a subscription that overflowed begins anew. */
  taken(subscription: Subscription): void;
}

/**
 * The messages of a subscription, through all reconnections: `for await (const message of subscription)`.
 *
 * A `gap` comes wherever messages may be missing. Leaving the loop ends the subscription, and so do `close` and the end of
 * the client. Iteration throws what ended it: OperationRefused, or the error that ended the client.
 */
export class Subscription implements AsyncIterableIterator<FeedMessage, undefined> {
  readonly key: number;
  readonly #owner: Owner;
  readonly #listener: Listener;
  readonly #queue: FeedMessage[] = [];
  readonly #confirmed = deferred<undefined>();
  #waiting: Deferred<IteratorResult<FeedMessage, undefined>>[] = [];
  #ended = false;
  #error: ClientError | null = null;
  /** Messages were thrown away; all are, until the user has taken what waits. */
  overflowing = false;

  constructor(owner: Owner, key: number, listener: Listener) {
    this.#owner = owner;
    this.key = key;
    this.#listener = listener;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Fulfilled when the gateway has accepted the subscription. */
  confirmed(): Promise<void> {
    return this.#confirmed.promise;
  }

  /** Unsubscribes; iteration ends. */
  close(): void {
    this.#owner.forget(this.key);
    this.end(null);
  }

  next(): Promise<IteratorResult<FeedMessage, undefined>> {
    const message = this.#queue.shift();
    if (message) {
      this.#owner.taken(this);
      return Promise.resolve({ done: false, value: message });
    }
    if (this.#error) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    const waiting = deferred<IteratorResult<FeedMessage, undefined>>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  return(): Promise<IteratorResult<FeedMessage, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  // For the client.

  get waiting(): number {
    return this.#queue.length;
  }

  get full(): boolean {
    return this.#queue.length >= this.#owner.queueSize;
  }

  confirm(): void {
    this.#confirmed.resolve(undefined);
    this.#listener.onConfirmed?.();
  }

  put(message: FeedMessage): void {
    if (this.#ended) return;
    const { onMessage } = this.#listener;
    const waiting = onMessage ? undefined : this.#waiting.shift();
    if (onMessage) onMessage(message);
    else if (waiting) waiting.resolve({ done: false, value: message });
    else this.#queue.push(message);
  }

  end(error: ClientError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    if (!error) this.#queue.length = 0;
    this.#confirmed.reject(error ?? new ClientClosed('the subscription is closed'));
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { resolve, reject } of waiting) {
      if (error) reject(error);
      else resolve({ done: true, value: undefined });
    }
    if (error) this.#listener.onEnd?.(error);
  }
}

/**
 * A connection to a gateway's stream that is kept up, from `connect` to `close`.
 *
 * **Slow users.** Each subscription holds up to `queueSize` messages for iteration. While one is full, a socket that can be
 * paused is not read, for no subscription: the gateway conflates then (books and quotes become one newer message, trades
 * are dropped with a gap), and disconnects a client that reads nothing for 10 s; this one connects again and continues or
 * tells the gap. A browser's socket cannot be paused: there the newer messages of that subscription are thrown away until
 * the user has taken those that wait, then gaps (`overflow`) and new snapshots follow. Kept books are not affected.
 */
export class Client {
  readonly url: string;
  readonly #options: ClientOptions;
  readonly #now: () => number;
  readonly #openSocket: OpenSocket;
  readonly #session: Session;
  readonly #reconnecting: Reconnecting;
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #answers = new Map<number, Deferred<readonly FeedMessage[]>>();
  readonly #owner: Owner;
  #state: ConnectionState = { phase: 'connecting' };
  #socket: Socket | null = null;
  #paused = false;
  #open = false;
  #startedAt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #error: ClientError | null = null;
  #sentToken: string | null = null;
  #refusedToken: string | null = null;
  #lastProblem: string | null = null;
  #ready: Deferred<undefined> | null = null;

  constructor(url: string, options: ClientOptions = {}) {
    this.url = url;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#openSocket = options.openSocket ?? socketsOf(options.webSocket ?? WebSocket);
    this.#session = new Session({ encoding: options.encoding ?? json, clock: this.#now });
    this.#reconnecting = new Reconnecting({
      local: isLoopback(new URL(url).hostname),
      random: options.random ?? Math.random,
    });
    this.#owner = {
      queueSize: options.queueSize ?? QUEUE_SIZE,
      forget: (key) => {
        this.#subscriptions.delete(key);
        this.#session.unsubscribe(key);
        this.#flush();
        this.#resume();
      },
      taken: (subscription) => {
        this.#taken(subscription);
      },
    };
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get counters(): Readonly<Counters> {
    return this.#session.counters;
  }

  /** The latest thing that went against the protocol, in words. */
  get lastProblem(): string | null {
    return this.#lastProblem;
  }

  /** From the latest ping to its pong. */
  get roundTripMs(): number | null {
    return this.#session.roundTripMs;
  }

  /** The gateway's clock at a local time, microseconds since the epoch; null before its first hello. */
  gatewayTime(at = this.#now()): number | null {
    return this.#session.gatewayTime(at);
  }

  /**
   * Begins to connect, and goes on until `close`. The promise is fulfilled by the first hello; it is rejected if the
   * gateway said not to come back, or after `timeoutMs` (the client goes on trying all the same).
   */
  connect(timeoutMs = CONNECT_TIMEOUT_MS): Promise<void> {
    const ready = deferred<undefined>();
    const timer = setTimeout(() => {
      const why = this.#state.phase === 'waiting' ? this.#state.reason : 'no answer';
      ready.reject(new Disconnected(`${this.url}: no connection in ${timeoutMs / 1000} s; ${why}`));
    }, timeoutMs);
    ready.promise.catch(() => undefined).finally(() => {
      clearTimeout(timer);
    });
    this.#ready = ready;
    this.#error = null;
    this.#ticker ??= setInterval(() => {
      this.#tick();
    }, TICK_MS);
    this.#begin();
    return ready.promise;
  }

  /** Closes for good; iterations end with ClientClosed. */
  close(): void {
    this.#stop(new ClientClosed('the client is closed'));
    this.#become({ phase: 'ended', reason: 'closed' });
  }

  /** Connects now instead of waiting; also the way out of a refusal. Subscriptions that ended stay ended. */
  retryNow(): void {
    if (this.#socket) return;
    this.#reconnecting.reset();
    void this.connect();
  }

  /** Subscribes now, and again after each reconnection. Throws SubscriptionOverlap, or what ended the client. */
  subscribe(channel: Channel, options: Selection & SubscribeOptions & Listener = {}): Subscription {
    if (this.#error) throw this.#error;
    const { venue, symbol, onMessage, onConfirmed, onEnd, ...rest } = options;
    const wanted = channel === 'book' || channel === 'l2' ? { checksum: true, ...rest } : rest;
    const key = this.#session.subscribe(new Request(channel, list(venue), list(symbol), wanted));
    const listener = {
      ...(onMessage ? { onMessage } : {}),
      ...(onConfirmed ? { onConfirmed } : {}),
      ...(onEnd ? { onEnd } : {}),
    };
    const subscription = new Subscription(this.#owner, key, listener);
    this.#subscriptions.set(key, subscription);
    this.#flush();
    return subscription;
  }

  /** The book kept of a subscribed feed; it changes as messages arrive. Null if no subscription covers it. */
  book(venue: string, symbol: string, channel: 'book' | 'l2' = 'book'): Book | null {
    return this.#session.book(channel, venue, symbol);
  }

  /** The present state of feeds, subscribed or not; no subscription is changed. */
  snapshot(channel: Channel, options: Selection & SubscribeOptions = {}): Promise<readonly FeedMessage[]> {
    if (this.#error) return Promise.reject(this.#error);
    const { venue, symbol, ...rest } = options;
    const id = this.#session.requestSnapshot(new Request(channel, list(venue), list(symbol), rest));
    const answer = deferred<readonly FeedMessage[]>();
    this.#answers.set(id, answer);
    this.#flush();
    return answer.promise;
  }

  // --- connections ------------------------------------------------------------------------------------------

  #begin(): void {
    clearTimeout(this.#retry);
    this.#release(CODES.closed);
    this.#startedAt = this.#now();
    this.#paused = false;
    // A socket that was let go of may still report its end: only the current one counts.
    const whenCurrent = (action: () => void) => {
      if (this.#socket === socket) action();
    };
    const socket = this.#openSocket(this.url, this.#session.encoding.subprotocol, {
      opened: () => {
        whenCurrent(() => {
          this.#open = true;
          this.#session.opened(this.#startedAt);
          this.#become({ phase: 'live' });
        });
      },
      received: (data) => {
        whenCurrent(() => {
          this.#handle(this.#session.receive(data));
          this.#flush();
          if (this.#state.phase === 'stale') this.#become({ phase: 'live' });
          else this.#options.onActivity?.();
        });
      },
      closed: (code, reason) => {
        whenCurrent(() => {
          this.#socket = null;
          this.#ended(code, reason);
        });
      },
    });
    this.#socket = socket;
    this.#become({ phase: 'connecting' });
  }

  #tick(): void {
    if (!this.#socket) return;
    if (!this.#open) {
      if (this.#now() - this.#startedAt >= CONNECT_TIMEOUT_MS) this.#hangUp(CODES.dead, 'no answer');
      return;
    }
    const events = this.#session.tick(!this.#paused);
    this.#handle(events);
    if (events.some(({ type }) => type === 'hangUp')) return;
    this.#flush();
    const phase = this.#session.liveness;
    if (phase !== this.#state.phase) this.#become({ phase });
    else this.#options.onActivity?.();
  }

  /** Lets go of the socket without waiting for its closing handshake, which a dead link never answers. */
  #hangUp(code: number, reason: string): void {
    this.#release(code);
    this.#ended(code, reason);
  }

  #release(code: number): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code);
  }

  #ended(code: number, reason: string): void {
    this.#open = false;
    const [end, events] = this.#session.closed(code, reason);
    this.#handle(events);
    const words = end.reason || (WORDS.get(end.code) ?? `closed with code ${end.code}`);
    const refusal = this.#refusal(end);
    if (refusal) {
      this.#stop(refusal);
      this.#become({ phase: 'ended', reason: words });
      return;
    }
    const pause = this.#reconnecting.pause(end);
    this.#retry = setTimeout(() => {
      this.#begin();
    }, pause);
    this.#become({ phase: 'waiting', retryAt: this.#now() + pause, reason: words });
  }

  #refusal(end: End): ClientError | null {
    const refusal = refusalOf(end);
    if (refusal?.code !== CODES.unauthorized || typeof this.#options.token !== 'function' || this.#sentToken === null) {
      return refusal;
    }
    // The function may have another one.
    this.#refusedToken = this.#sentToken;
    return null;
  }

  #stop(error: ClientError): void {
    clearInterval(this.#ticker);
    clearTimeout(this.#retry);
    this.#ticker = undefined;
    this.#error = error;
    this.#release(CODES.closed);
    if (this.#open) {
      this.#open = false;
      this.#session.closed(CODES.closed, '');
    }
    this.#ready?.reject(error);
    for (const { reject } of this.#answers.values()) reject(error);
    this.#answers.clear();
    for (const [key, subscription] of this.#subscriptions) {
      this.#session.unsubscribe(key);
      subscription.end(error);
    }
    this.#subscriptions.clear();
  }

  #flush(): void {
    if (!this.#open) return;
    for (const data of this.#session.dataToSend()) this.#socket?.send(data);
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    this.#options.onActivity?.();
  }

  // --- events -----------------------------------------------------------------------------------------------

  #handle(events: readonly Event[]): void {
    for (const event of events) {
      switch (event.type) {
        case 'delivered':
          this.#deliver(event.key, event.message);
          break;
        case 'confirmed':
          this.#subscriptions.get(event.key)?.confirm();
          break;
        case 'refused':
          this.#subscriptions.get(event.key)?.end(event.error);
          this.#subscriptions.delete(event.key);
          break;
        case 'answered':
          this.#answers.get(event.id)?.resolve(event.messages);
          this.#answers.delete(event.id);
          break;
        case 'failed':
          this.#answers.get(event.id)?.reject(event.error);
          this.#answers.delete(event.id);
          break;
        case 'ready':
          this.#ready?.resolve(undefined);
          break;
        case 'tokenNeeded':
          void this.#authenticate();
          break;
        case 'authenticated':
          this.#refusedToken = null;
          break;
        case 'unreadable':
          this.#lastProblem = event.reason;
          break;
        case 'hangUp':
          this.#hangUp(event.code, event.reason);
          // What the session told after it belongs to the connection that is gone.
          return;
      }
    }
  }

  #deliver(key: number, message: FeedMessage): void {
    const subscription = this.#subscriptions.get(key);
    if (!subscription || subscription.overflowing) return;
    if (subscription.full && !this.#socket?.pause) {
      subscription.overflowing = true;
      return;
    }
    subscription.put(message);
    if (subscription.full && !this.#paused && this.#socket?.pause) {
      this.#paused = true;
      this.#socket.pause();
    }
  }

  #taken(subscription: Subscription): void {
    if (subscription.overflowing && subscription.waiting === 0) {
      subscription.overflowing = false;
      this.#handle(this.#session.overflowed(subscription.key));
      this.#flush();
    }
    this.#resume();
  }

  #resume(): void {
    if (!this.#paused || [...this.#subscriptions.values()].some(({ full }) => full)) return;
    this.#paused = false;
    this.#socket?.resume?.();
  }

  async #authenticate(): Promise<void> {
    const { token } = this.#options;
    const socket = this.#socket;
    try {
      if (token === undefined) throw new CredentialsRefused(CODES.unauthorized, 'the gateway requires a token');
      const found = typeof token === 'function' ? await token() : token;
      if (found === this.#refusedToken) throw new CredentialsRefused(CODES.unauthorized, 'the gateway refused this token before');
      if (this.#socket !== socket) return;
      this.#sentToken = found;
      this.#session.authenticate(found);
      this.#flush();
    } catch (error) {
      const ended = error instanceof ClientError ? error : new ClientError(`token: ${String(error)}`, { cause: error });
      this.#stop(ended);
      this.#become({ phase: 'ended', reason: ended.message });
    }
  }
}
