/**
 * The gateway's clock, as far as it can be told from here: ours may be minutes off, and ages of books are by the
 * gateway's. Local times are milliseconds since the epoch, given by the caller; server times are microseconds.
 */

/** How much a measurement of before loses in precision per millisecond: clocks drift, and are set. */
const AGEING = 1e-3;

export class GatewayClock {
  /** Server minus local time, milliseconds; and half the round trip it was measured over: the most it can be wrong by. */
  #offset = 0;
  #error = Number.POSITIVE_INFINITY;
  #at = 0;

  /** The gateway said `serverTime` between `sent` (a request, of a pong or of the connection) and `received`. */
  heard(serverTime: number, sent: number, received: number): void {
    const error = Math.max(0, received - sent) / 2;
    // The shortest round trip tells best; an old one gives way in time.
    const held = this.#error + Math.max(0, received - this.#at) * AGEING;
    if (error > held) return;
    this.#offset = serverTime / 1000 - (sent + received) / 2;
    this.#error = error;
    this.#at = received;
  }

  /** Microseconds by the gateway's clock; null until it has told its time. */
  at(now: number): number | null {
    return this.#error === Number.POSITIVE_INFINITY ? null : (now + this.#offset) * 1000;
  }
}
