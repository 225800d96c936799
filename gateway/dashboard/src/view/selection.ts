/** Which instrument the page shows: in the address (`#kraken/BTC-USD`), so that a reload or a link keeps it. */
import { useCallback, useEffect, useMemo, useState } from 'react';

import type { Instrument } from '../rest/api.ts';

export interface Selection {
  readonly venue: string;
  readonly symbol: string;
}

export function parseHash(hash: string): Selection | null {
  const match = /^#([^/]+)\/(.+)$/.exec(hash);
  if (!match?.[1] || !match[2]) return null;
  try {
    return { venue: decodeURIComponent(match[1]), symbol: decodeURIComponent(match[2]) };
  } catch {
    // A percent sign that encodes nothing: an address typed by hand.
    return null;
  }
}

export function hashOf({ venue, symbol }: Selection): string {
  return `#${encodeURIComponent(venue)}/${encodeURIComponent(symbol)}`;
}

/** Venues that list the symbol, by name. */
export function venuesOf(instruments: readonly Instrument[], symbol: string): string[] {
  return instruments
    .filter((instrument) => instrument.symbol === symbol)
    .map(({ venue }) => venue)
    .sort();
}

/** Every symbol once: those on more venues first, then by name. */
export function symbolsOf(instruments: readonly Instrument[]): string[] {
  const venues = new Map<string, number>();
  for (const { symbol } of instruments) venues.set(symbol, (venues.get(symbol) ?? 0) + 1);
  return [...venues.keys()].sort((a, b) => (venues.get(b) ?? 0) - (venues.get(a) ?? 0) || a.localeCompare(b));
}

/**
 * The wish if it exists; else the same symbol elsewhere; else the symbol that most venues list, on a venue whose book
 * is valid if there is one. Null while nothing is listed.
 */
export function choose(wish: Selection | null, instruments: readonly Instrument[]): Selection | null {
  if (wish && instruments.some(({ venue, symbol }) => venue === wish.venue && symbol === wish.symbol)) return wish;
  const symbols = symbolsOf(instruments);
  const symbol = wish && symbols.includes(wish.symbol) ? wish.symbol : symbols[0];
  if (symbol === undefined) return null;
  const listed = instruments.filter((instrument) => instrument.symbol === symbol);
  const first = listed.find(({ valid }) => valid) ?? listed[0];
  return first ? { venue: first.venue, symbol } : null;
}

/** The instrument shown and how to change it. */
export function useSelection(instruments: readonly Instrument[]): readonly [Selection | null, (to: Selection) => void] {
  const [wish, setWish] = useState(() => parseHash(window.location.hash));

  // The browser's back and forward, and addresses typed by hand.
  useEffect(() => {
    const follow = () => {
      setWish(parseHash(window.location.hash));
    };
    window.addEventListener('hashchange', follow);
    return () => {
      window.removeEventListener('hashchange', follow);
    };
  }, []);

  const select = useCallback((to: Selection) => {
    setWish(to);
    window.location.hash = hashOf(to);
  }, []);
  return [useMemo(() => choose(wish, instruments), [wish, instruments]), select];
}
