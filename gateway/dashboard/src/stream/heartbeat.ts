/** How alive a connection is. Times are milliseconds, given by the caller. */

/** Until hello says otherwise. */
export const DEFAULT_HEARTBEAT_MS = 5_000;
/** A server that promised less would have the page ping all the time. */
const SHORTEST_HEARTBEAT_MS = 250;
/** Without a message for this many heartbeats the page says "stale"… */
export const STALE_HEARTBEATS = 2;
/** …and for this many it gives the connection up. */
export const DEAD_HEARTBEATS = 4;

export type Liveness = 'live' | 'stale' | 'dead';

export class Heartbeat {
  #everyMs = DEFAULT_HEARTBEAT_MS;
  #lastReceived = 0;
  #pingSent = 0;
  #pingId: number | null = null;
  #roundTripMs: number | null = null;

  get everyMs(): number {
    return this.#everyMs;
  }

  /** From the latest ping to its pong; null before the first and without a connection. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** What the server's hello promised: some message at least this often. */
  promised(everyMs: number): void {
    this.#everyMs = Math.max(SHORTEST_HEARTBEAT_MS, everyMs);
  }

  opened(now: number): void {
    this.#lastReceived = now;
    this.#pingSent = now;
  }

  closed(): void {
    this.#pingId = null;
    this.#roundTripMs = null;
  }

  received(now: number): void {
    this.#lastReceived = now;
  }

  pingDue(now: number): boolean {
    return now - this.#pingSent >= this.#everyMs;
  }

  pinged(id: number, now: number): void {
    this.#pingId = id;
    this.#pingSent = now;
  }

  /** Returns whether it was the answer to the latest ping, for the first time. */
  ponged(id: number | null, now: number): boolean {
    if (id === null || id !== this.#pingId) return false;
    this.#roundTripMs = now - this.#pingSent;
    this.#pingId = null;
    return true;
  }

  liveness(now: number): Liveness {
    const silent = now - this.#lastReceived;
    if (silent >= DEAD_HEARTBEATS * this.#everyMs) return 'dead';
    return silent >= STALE_HEARTBEATS * this.#everyMs ? 'stale' : 'live';
  }
}
