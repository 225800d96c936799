/** The socket adapter: keeps a Session connected. All timers and the socket of the stream live here. */
import { CLOSED_BY_PAGE, CLOSED_DEAD, reconnectDelay } from './backoff.ts';
import type { Session } from './session.ts';

export type ConnectionState =
  | { readonly phase: 'connecting' }
  | { readonly phase: 'live' }
  /** Connected, but nothing came for two heartbeats. */
  | { readonly phase: 'stale' }
  | { readonly phase: 'waiting'; readonly retryAt: number; readonly reason: string }
  /** The server said not to come back. */
  | { readonly phase: 'ended'; readonly reason: string };

/** What a socket reports. */
export interface SocketEvents {
  readonly opened: () => void;
  readonly received: (data: string) => void;
  readonly closed: (code: number, reason: string) => void;
}

/** The part of a WebSocket that is used; tests pass a scripted one. */
export interface Socket {
  send(data: string): void;
  close(code: number): void;
}

export type OpenSocket = (url: string, events: SocketEvents) => Socket;

function browserSocket(url: string, events: SocketEvents): Socket {
  const socket = new WebSocket(url);
  socket.onopen = events.opened;
  socket.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (typeof data === 'string') events.received(data);
  };
  socket.onclose = ({ code, reason }) => {
    events.closed(code, reason);
  };
  return socket;
}

export interface ConnectionOptions {
  readonly url: string;
  readonly loopback: boolean;
  /** Called after anything that may have changed the session or the connection's state. */
  readonly onActivity: () => void;
  readonly openSocket?: OpenSocket;
  /** Milliseconds; monotonic is not needed, only differences count. */
  readonly now?: () => number;
  readonly random?: () => number;
}

const TICK_MS = 500;
/** A connection that lived this long was a good one: the next failure starts from the shortest delay again. */
const GOOD_AFTER_MS = 5_000;
/** A connection attempt without an answer is given up after this. */
const CONNECT_TIMEOUT_MS = 10_000;

const WORDS = new Map<number, string>([
  [1000, 'closed by the gateway'],
  [1001, 'the gateway is going away'],
  [1006, 'connection lost'],
  [1011, 'the gateway had an internal error'],
  [1012, 'the gateway is restarting'],
  [1013, 'the gateway asks to try again later'],
  [CLOSED_DEAD, 'no message for too long'],
]);

export class Connection {
  readonly #session: Session;
  readonly #options: Required<ConnectionOptions>;
  #state: ConnectionState = { phase: 'connecting' };
  #socket: Socket | null = null;
  #openedAt: number | null = null;
  #startedAt = 0;
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;

  constructor(session: Session, options: ConnectionOptions) {
    this.#session = session;
    this.#options = {
      openSocket: browserSocket,
      now: Date.now,
      random: Math.random,
      ...options,
    };
  }

  get state(): ConnectionState {
    return this.#state;
  }

  start(): void {
    this.#ticker ??= setInterval(() => {
      this.#tick();
    }, TICK_MS);
    this.#connect();
  }

  /** Closes for good (until `start`). */
  stop(): void {
    clearInterval(this.#ticker);
    clearTimeout(this.#retry);
    this.#ticker = undefined;
    this.#release(CLOSED_BY_PAGE);
  }

  /** Connects now instead of waiting; also the way out of `ended`. */
  retryNow(): void {
    if (this.#socket) return;
    this.#attempt = 0;
    this.#connect();
  }

  /** Sends what the session has to say; to be called after `session.want`. */
  flush(): void {
    const messages = this.#session.messagesToSend();
    if (this.#openedAt === null) return;
    for (const message of messages) this.#socket?.send(JSON.stringify(message));
  }

  #connect(): void {
    clearTimeout(this.#retry);
    this.#release(CLOSED_BY_PAGE);
    const { openSocket, url, now } = this.#options;
    this.#startedAt = now();
    // A socket that was let go of may still report its end: only the current one counts.
    const whenCurrent = (action: () => void) => {
      if (this.#socket === socket) action();
    };
    const socket = openSocket(url, {
      opened: () => {
        whenCurrent(() => {
          this.#openedAt = now();
          this.#session.opened(now(), this.#startedAt);
          this.flush();
          this.#become({ phase: 'live' });
        });
      },
      received: (data) => {
        whenCurrent(() => {
          this.#session.received(data, now());
          this.flush();
          if (this.#state.phase === 'live') this.#options.onActivity();
          else this.#become({ phase: 'live' });
        });
      },
      closed: (code, reason) => {
        whenCurrent(() => {
          this.#socket = null;
          this.#scheduleRetry(code, reason, this.#ended());
        });
      },
    });
    this.#socket = socket;
    this.#become({ phase: 'connecting' });
  }

  #tick(): void {
    const now = this.#options.now();
    if (!this.#socket) return;
    if (this.#openedAt === null) {
      if (now - this.#startedAt >= CONNECT_TIMEOUT_MS) this.#giveUp();
      return;
    }
    const liveness = this.#session.tick(now);
    this.flush();
    if (liveness === 'dead') this.#giveUp();
    else if (liveness !== this.#state.phase) this.#become({ phase: liveness });
    else this.#options.onActivity();
  }

  /** Lets go of the socket without waiting for its closing handshake, which a dead link never answers. */
  #giveUp(): void {
    const lived = this.#release(CLOSED_DEAD);
    this.#scheduleRetry(CLOSED_DEAD, '', lived);
  }

  #release(code: number): number {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code);
    return this.#ended();
  }

  /** Tells the session, once per connection; returns how long it lived. */
  #ended(): number {
    if (this.#openedAt === null) return 0;
    const lived = this.#options.now() - this.#openedAt;
    this.#openedAt = null;
    this.#session.closed();
    return lived;
  }

  #scheduleRetry(code: number, reason: string, lived: number): void {
    const { now, random, loopback } = this.#options;
    if (lived >= GOOD_AFTER_MS) this.#attempt = 0;
    const words = reason || (WORDS.get(code) ?? `closed with code ${code}`);
    const delay = reconnectDelay({ code, attempt: this.#attempt, loopback, random });
    if (delay === null) {
      this.#become({ phase: 'ended', reason: words });
      return;
    }
    this.#attempt += 1;
    this.#retry = setTimeout(() => {
      this.#connect();
    }, delay);
    this.#become({ phase: 'waiting', retryAt: now() + delay, reason: words });
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    this.#options.onActivity();
  }
}
