/** Arbitrage opportunities: the open ones, and the latest closed ones. */
import { compare, parseDecimal, ZERO } from '@alphapulse/client';
import type { OpportunityFields as Opportunity } from '@alphapulse/client';

/** An opportunity with the best it offered while this page watched: at its close it pays nothing any more. */
export interface Watched extends Opportunity {
  readonly bestNetProfit: string;
  readonly bestBasisPoints: number;
}

function better(a: string, b: string): string {
  return compare(parseDecimal(a) ?? ZERO, parseDecimal(b) ?? ZERO) >= 0 ? a : b;
}

function watch(opportunity: Opportunity, before: Watched | undefined): Watched {
  return {
    ...opportunity,
    bestNetProfit: before ? better(opportunity.netProfit, before.bestNetProfit) : opportunity.netProfit,
    bestBasisPoints: Math.max(opportunity.netBasisPoints, before?.bestBasisPoints ?? Number.NEGATIVE_INFINITY),
  };
}

export class OpportunityBoard {
  readonly #open = new Map<string, Watched>();
  /** Those that the server does not show at present, because a book of theirs is not good: they may come back. */
  readonly #hidden = new Map<string, Watched>();
  readonly #closed: Watched[] = [];
  readonly #keep: number;
  #closedTotal = 0;

  constructor(keep = 100) {
    this.#keep = keep;
  }

  /** The best first, by net basis points. */
  get open(): Watched[] {
    return [...this.#open.values()].sort((a, b) => b.netBasisPoints - a.netBasisPoints);
  }

  /** The latest first. */
  get closed(): readonly Watched[] {
    return this.#closed;
  }

  /** Closed ones ever seen, also those not kept any more. */
  get closedTotal(): number {
    return this.#closedTotal;
  }

  /** Takes one change of state. What is closed stays closed: a late message about it is left out. */
  apply(opportunity: Opportunity): void {
    if (this.#closed.some(({ id }) => id === opportunity.id)) return;
    const watched = watch(opportunity, this.#open.get(opportunity.id) ?? this.#hidden.get(opportunity.id));
    this.#hidden.delete(opportunity.id);
    if (opportunity.state !== 'closed') {
      this.#open.set(opportunity.id, watched);
      return;
    }
    this.#open.delete(opportunity.id);
    this.#closedTotal += 1;
    // Nearly always the latest; the list of the REST interface comes in any order.
    const at = this.#closed.findIndex((other) => other.updatedTime <= opportunity.updatedTime);
    this.#closed.splice(at < 0 ? this.#closed.length : at, 0, watched);
    if (this.#closed.length > this.#keep) this.#closed.length = this.#keep;
  }

  /**
   * What is open of a symbol (`*`: of all), and can be traded, by a snapshot. The others are out of sight until the server
   * tells of them again.
   */
  reset(open: readonly Opportunity[], symbol = '*'): void {
    const listed = new Set(open.map(({ id }) => id));
    for (const [id, watched] of this.#open) {
      if (listed.has(id) || (symbol !== '*' && watched.symbol !== symbol)) continue;
      this.#open.delete(id);
      this.#hidden.set(id, watched);
    }
    // One that closed while nobody listened never comes back.
    for (const id of this.#hidden.keys()) {
      if (this.#hidden.size <= this.#keep) break;
      this.#hidden.delete(id);
    }
    for (const opportunity of open) this.apply(opportunity);
  }
}
