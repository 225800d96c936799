/** When to connect again. */

export interface Circumstances {
  /** WebSocket close code; 1006 when the connection never came up. */
  readonly code: number;
  /** Failed attempts in a row, 0 for the first. */
  readonly attempt: number;
  /** The page is served from this very machine: no herd of browsers to spread out. */
  readonly loopback: boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export const FIRST_CEILING_MS = 500;
export const LAST_CEILING_MS = 15_000;
/** Full jitter may draw nearly 0; a refused connection must not become a busy loop. */
export const FLOOR_MS = 100;

/** Codes in this range say: do not come back. */
export const TERMINAL_FROM = 3500;
export const TERMINAL_TO = 4899;
/** This page's own closes, which are no verdict of the server. */
export const CLOSED_DEAD = 4900;
export const CLOSED_BY_PAGE = 4901;

const SERVICE_RESTART = 1012;
const RESTART_FROM_MS = 5_000;
const RESTART_TO_MS = 30_000;

/**
 * Milliseconds until the next attempt, or null when the server said never.
 *
 * Exponential backoff, capped, with full jitter (uniform between 0 and the ceiling). 1012 (service restart) spreads all
 * clients over 5–30 s on the first attempt, so that they do not all come back in the same second.
 */
export function reconnectDelay({ code, attempt, loopback, random }: Circumstances): number | null {
  if (code >= TERMINAL_FROM && code <= TERMINAL_TO) return null;
  if (code === SERVICE_RESTART && attempt === 0 && !loopback) {
    return RESTART_FROM_MS + random() * (RESTART_TO_MS - RESTART_FROM_MS);
  }
  const ceiling = Math.min(LAST_CEILING_MS, FIRST_CEILING_MS * 2 ** Math.min(attempt, 20));
  return Math.max(FLOOR_MS, random() * ceiling);
}
