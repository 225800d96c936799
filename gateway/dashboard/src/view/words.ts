/** Times, ages and counts as the page writes them. Prices and sizes are decimal text and are not made here. */

/** A time of day by the browser's zone, hh:mm:ss, from microseconds since the epoch. */
export function clock(microseconds: number): string {
  const at = new Date(microseconds / 1000);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':');
}

/** The same with milliseconds. */
export function preciseClock(microseconds: number): string {
  const millis = Math.floor(microseconds / 1000) % 1000;
  return `${clock(microseconds)}.${String(millis).padStart(3, '0')}`;
}

/** A length of time, two units at most: "180 ms", "4.2 s", "3 m 05 s", "2 h 10 m", "3 d 4 h". Negative counts as 0. */
export function duration(milliseconds: number): string {
  const ms = Math.max(0, milliseconds);
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${String(seconds % 60).padStart(2, '0')} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, '0')} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** 12, 999, 1.2k, 34k, 1.2M */
export function count(value: number): string {
  const units: readonly (readonly [number, string])[] = [
    [1_000_000, 'M'],
    [1_000, 'k'],
  ];
  for (const [size, unit] of units) {
    if (value >= size) {
      const scaled = value / size;
      return `${scaled < 9.95 ? scaled.toFixed(1) : Math.round(scaled)}${unit}`;
    }
  }
  return String(Math.round(value));
}

/** A rate: one decimal below ten, else as `count`. */
export function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 9.95 ? perSecond.toFixed(1) : count(perSecond);
}

/** Names of venues as people write them: "binance_us" is "binance us". */
export function venueName(venue: string): string {
  return venue.replaceAll('_', ' ');
}

/** The currency prices are in: the second half of BASE-QUOTE; "" for an equity's ticker. */
export function quoteOf(symbol: string): string {
  return symbol.split('-')[1] ?? '';
}

export function baseOf(symbol: string): string {
  return symbol.split('-')[0] ?? symbol;
}

export type Tone = 'good' | 'doubtful' | 'bad' | 'unknown';

const GOOD = new Set(['ok', 'connected', 'live', 'up', 'running', 'healthy', 'ready']);
const DOUBTFUL = new Set(['degraded', 'connecting', 'reconnecting', 'starting', 'stale', 'waiting', 'restarting', 'idle']);
const BAD = new Set(['down', 'disconnected', 'failed', 'error', 'dead', 'unreachable', 'stopped']);

/** The colour a status word deserves. */
export function toneOf(status: string): Tone {
  const word = status.toLowerCase();
  if (GOOD.has(word)) return 'good';
  if (DOUBTFUL.has(word)) return 'doubtful';
  return BAD.has(word) ? 'bad' : 'unknown';
}
