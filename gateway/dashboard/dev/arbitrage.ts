/** Opens, changes and closes opportunities between the simulated venues: best levels only, a flat fee. */
import { decimalText, sizeText, type Market, type VenueBook } from './market.ts';

/** Both taker fees together. */
const FEES_BASIS_POINTS = 1.5;

/** An ArbitrageOpportunity as the gateway writes it. */
export type OpportunityJson = Readonly<Record<string, string | number | null>>;

function evaluate(buy: VenueBook, sell: VenueBook): { buyPrice: number; sellPrice: number; size: number; bps: number } {
  const buyPrice = Math.min(...buy.asks.keys());
  const sellPrice = Math.max(...sell.bids.keys());
  const size = Math.min(buy.asks.get(buyPrice) ?? 0, sell.bids.get(sellPrice) ?? 0);
  return { buyPrice, sellPrice, size, bps: ((sellPrice - buyPrice) / buyPrice) * 10_000 - FEES_BASIS_POINTS };
}

export class Arbitrage {
  readonly open = new Map<string, OpportunityJson>();
  readonly closed: OpportunityJson[] = [];
  #nextId = 1;

  /** Looks at every pair of venues whose books are not stale; returns what opened, changed or closed. */
  update(market: Market, stale: ReadonlySet<VenueBook>, time: number): OpportunityJson[] {
    const pairs = market.books.flatMap((buy) =>
      market.books.filter((sell) => sell.spec === buy.spec && sell !== buy).map((sell) => [buy, sell] as const),
    );
    return pairs
      .map(([buy, sell]) => this.#pair(buy, sell, stale.has(buy) || stale.has(sell), time))
      .filter((change) => change !== null);
  }

  #pair(buy: VenueBook, sell: VenueBook, stale: boolean, time: number): OpportunityJson | null {
    const key = `${buy.spec.symbol}|${buy.venue}|${sell.venue}`;
    const before = this.open.get(key);
    if (stale) return before ? this.#close(key, before, time, 'stale_book') : null;
    const { buyPrice, sellPrice, size, bps } = evaluate(buy, sell);
    if (bps <= 0 && !before) return null;
    if (bps <= 0 && before) return this.#close(key, before, time, 'prices');
    const { symbol, decimals } = buy.spec;
    // Mantissas of price and size multiplied: their decimals add up.
    const cost = (buyPrice * size) / 10 ** (decimals + 4);
    const now: OpportunityJson = {
      type: 'opportunity',
      channel: 'arbitrage',
      opportunity_id: before?.['opportunity_id'] ?? `mock-${this.#nextId++}`,
      state: before ? 'changed' : 'opened',
      symbol,
      buy_venue: buy.venue,
      sell_venue: sell.venue,
      buy_price: decimalText(buyPrice, decimals),
      sell_price: decimalText(sellPrice, decimals),
      buy_limit_price: decimalText(buyPrice, decimals),
      sell_limit_price: decimalText(sellPrice, decimals),
      size: sizeText(size),
      gross_profit: decimalText((sellPrice - buyPrice) * size, decimals + 4),
      net_profit: ((cost * bps) / 10_000).toFixed(6),
      net_basis_points: bps,
      opened_time: before?.['opened_time'] ?? time,
      updated_time: time,
      close_reason: null,
    };
    this.open.set(key, now);
    return now;
  }

  /** A closed one keeps the figures of when it last paid. */
  #close(key: string, before: OpportunityJson, time: number, reason: string): OpportunityJson {
    const closed = { ...before, state: 'closed', updated_time: time, close_reason: reason };
    this.open.delete(key);
    this.closed.unshift(closed);
    this.closed.length = Math.min(this.closed.length, 50);
    return closed;
  }
}
