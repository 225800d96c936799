/** One colour per venue, the same everywhere on the page; apart from the colours of bid, ask and arbitrage. */
const PALETTE = ['#5aa9ff', '#c08bff', '#3fd0c9', '#ff9d5c', '#f283b6', '#a8c256', '#8f9bff', '#d0b48a'] as const;

export function coloursOf(venues: readonly string[]): ReadonlyMap<string, string> {
  return new Map([...venues].sort().map((venue, n) => [venue, PALETTE[n % PALETTE.length] ?? PALETTE[0]]));
}
