/** When to connect again, and when not to: close codes, growing pauses with jitter. Times are milliseconds. */
import { ConnectionRefused, CredentialsRefused } from './errors.ts';

export const FIRST_CEILING_MS = 500;
export const LAST_CEILING_MS = 15_000;
/** Full jitter may draw nearly 0; a refused connection must not become a busy loop. */
export const FLOOR_MS = 100;
/** A connection that lived this long was a good one: pauses begin with the shortest again. */
export const GOOD_AFTER_MS = 5_000;

const RESTART_SPREAD_MS: readonly [number, number] = [5_000, 30_000];

export const CODES = {
  goingAway: 1012,
  tooLarge: 1009,
  unauthorized: 3000,
  forbidden: 3003,
  /** The client's own. */
  closed: 1000,
  dead: 4900,
  broken: 4902,
} as const;
const TERMINAL_FROM = 3500;
const TERMINAL_TO = 4899;

/** How a connection ended, or an attempt to make one. */
export interface End {
  /** WebSocket close code; 1006 without a closing handshake or connection. */
  readonly code: number;
  readonly reason: string;
  /** From the gateway's hello to the end, 0 without one. */
  readonly lived: number;
  /** What the gateway told with its shutdown: reconnect at a random time between these two. */
  readonly spread: readonly [number, number] | null;
}

/** The error if the gateway said not to come back (with these credentials); else null. */
export function refusalOf({ code, reason }: End): ConnectionRefused | null {
  if (code === CODES.unauthorized || code === CODES.forbidden) return new CredentialsRefused(code, reason);
  if (code === CODES.tooLarge || (code >= TERMINAL_FROM && code <= TERMINAL_TO)) return new ConnectionRefused(code, reason);
  return null;
}

export interface ReconnectingOptions {
  /** The gateway runs on this machine: no herd of clients has to be spread over its restart. */
  readonly local: boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Pauses between connections: exponential with full jitter, beginning anew after a good connection. */
export class Reconnecting {
  readonly #options: ReconnectingOptions;
  #failures = 0;

  constructor(options: ReconnectingOptions) {
    this.#options = options;
  }

  /** Milliseconds until the next attempt. */
  pause({ code, lived, spread }: End): number {
    const { local, random } = this.#options;
    if (lived >= GOOD_AFTER_MS || (code === CODES.goingAway && lived > 0)) this.#failures = 0;
    const failures = this.#failures;
    this.#failures += 1;
    if (failures === 0 && code === CODES.goingAway && !local) {
      const [least, most] = spread ?? RESTART_SPREAD_MS;
      return least + random() * (most - least);
    }
    const ceiling = Math.min(LAST_CEILING_MS, FIRST_CEILING_MS * 2 ** Math.min(failures, 20));
    return Math.max(FLOOR_MS, random() * ceiling);
  }

  /** The user wants a connection now: pauses begin with the shortest again. */
  reset(): void {
    this.#failures = 0;
  }
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || hostname.startsWith('127.');
}
