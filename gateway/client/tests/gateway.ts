/** The gateway's end of the stream in memory: a seeded book of kraken's BTC-USD, and messages for a client's core. */
import { encode as pack } from '@msgpack/msgpack';

import { checksum } from '../src/checksum.ts';
import { formatDecimal, parseDecimal, ZERO } from '../src/decimal.ts';
import type { Event } from '../src/session.ts';
import { Session } from '../src/session.ts';
import type { FeedMessage, Level } from '../src/messages.ts';
import { json } from '../src/wire.ts';
import { msgpack } from '../src/msgpack.ts';

export const KRAKEN = { venue: 'kraken', symbol: 'BTC-USD' } as const;
export type Fields = Record<string, unknown>;
export type EncodingName = 'json' | 'msgpack';

const PRICE_DECIMALS = 2;
const SIZE_DECIMALS = 3;

type Side = Map<number, number>;
type Sides = readonly [Side, Side];

export function level(price: string, size: string): Level {
  return { price, size, exactPrice: parseDecimal(price) ?? ZERO, exactSize: parseDecimal(size) ?? ZERO };
}

function textOf(mantissa: number, decimals: number): string {
  const plain = formatDecimal({ mantissa: BigInt(mantissa), scale: decimals });
  return plain.replace(/\.?0+$/, '');
}

const levelOf = ([price, size]: readonly [number, number]) => level(textOf(price, PRICE_DECIMALS), size === 0 ? '0' : textOf(size, SIZE_DECIMALS));

/** mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

export interface State {
  readonly bids: readonly Level[];
  readonly asks: readonly Level[];
}

/** One instrument's book and every state it ever had, by `epoch sequence`. */
export class Market {
  epoch = 1_723_100_000_000_000_000n;
  sequence = 0;
  sides: Sides = [new Map(), new Map()];
  readonly history = new Map<string, State>();
  deltas: { previous: number; sequence: number; changes: Sides }[] = [];
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
    this.#fill();
  }

  state(epoch: string, sequence: number): State | undefined {
    return this.history.get(`${epoch} ${sequence}`);
  }

  move(): void {
    const changes: Sides = [new Map(), new Map()];
    this.sides.forEach((side, index) => {
      const prices = [...side.keys()];
      for (let n = 0; n < 2; n += 1) {
        const price = prices[Math.floor(this.#random() * prices.length)] ?? 0;
        const size = side.size > 12 && this.#random() < 0.5 ? 0 : this.#size();
        changes[index]?.set(price, size);
        if (size === 0) side.delete(price);
        else side.set(price, size);
      }
    });
    const previous = this.sequence;
    this.sequence += 1 + Math.floor(this.#random() * 3);
    this.deltas.push({ previous, sequence: this.sequence, changes });
    this.#note();
  }

  restart(): void {
    this.epoch += 1_000_000_000n;
    this.sequence = 0;
    this.deltas = [];
    this.#fill();
  }

  #size(): number {
    return 1 + Math.floor(this.#random() * 99_000);
  }

  #fill(): void {
    const side = (from: number, step: number) => new Map(Array.from({ length: 20 }, (_, n) => [from + n * step, this.#size()]));
    this.sides = [side(9_999, -1), side(10_001, 1)];
    this.#note();
  }

  #note(): void {
    const [bids, asks] = this.sides;
    this.history.set(`${this.epoch.toString()} ${this.sequence}`, {
      bids: [...bids].sort(([a], [b]) => b - a).map(levelOf),
      asks: [...asks].sort(([a], [b]) => a - b).map(levelOf),
    });
  }
}

/** A session connected to a gateway in memory; `events` are all so far. */
export class Pair {
  readonly market: Market;
  readonly session: Session;
  readonly encoding: EncodingName;
  readonly received: Fields[] = [];
  events: Event[] = [];
  now = 1_000_000;
  history = 5;
  subscribed = false;
  sent: Fields[] = [];
  /** Called after each WebSocket message. */
  afterEach: () => void = () => undefined;
  readonly #access: string;

  constructor(encoding: EncodingName = 'json', { access = 'open', seed = 7 } = {}) {
    this.encoding = encoding;
    this.#access = access;
    this.market = new Market(seed);
    this.session = new Session({ encoding: encoding === 'json' ? json : msgpack, clock: () => this.now });
  }

  get messages(): FeedMessage[] {
    return this.events.filter((event) => event.type === 'delivered').map(({ message }) => message);
  }

  get types(): string[] {
    return this.messages.map(({ type }) => type);
  }

  connect(hello: Fields = {}): void {
    this.session.opened(this.now);
    const head = { type: 'hello', version: 2, gateway: 'g', access: this.#access, time: this.now * 1000 };
    this.sent.push({ ...head, heartbeat_ms: 5_000, max_book_age_ms: 5_000, ...hello });
    this.exchange();
  }

  disconnect(code = 1006): void {
    this.sent = [];
    this.subscribed = false;
    this.events.push(...this.session.closed(code, '')[1]);
  }

  /** Carries messages both ways until nobody has anything to say. */
  exchange(together = 1): void {
    for (;;) {
      for (const data of this.session.dataToSend()) this.#take(data);
      if (this.sent.length === 0) return;
      while (this.sent.length > 0) {
        this.events.push(...this.session.receive(this.#framed(this.sent.splice(0, together))));
        this.afterEach();
      }
    }
  }

  say(...messages: Fields[]): void {
    this.sent.push(...messages);
    this.exchange();
  }

  move(times = 1): void {
    for (let n = 0; n < times; n += 1) {
      this.market.move();
      if (this.subscribed) this.delta();
    }
    this.exchange();
  }

  passTime(ms: number): void {
    this.now += ms;
    this.events.push(...this.session.tick());
    this.exchange();
  }

  /** Sends the market's last change. */
  delta(last = this.market.deltas.at(-1)): void {
    if (last) this.#book('delta', last.sequence, last.changes, { previous_sequence: last.previous });
  }

  snapshot(reason: string | null = null): void {
    const sides: Sides = reason === null ? this.market.sides : [new Map(), new Map()];
    this.#book('snapshot', this.market.sequence, sides, { valid: reason === null, reason });
  }

  #framed(messages: readonly Fields[]): string | ArrayBuffer {
    if (this.encoding === 'json') return messages.map((message) => JSON.stringify(message)).join('\n');
    return Uint8Array.from(messages.flatMap((message) => [...pack(message)])).buffer;
  }

  #take(data: string | Uint8Array<ArrayBuffer>): void {
    const [value] = typeof data === 'string' ? [JSON.parse(data) as unknown] : [...msgpack.decode(data.slice().buffer)];
    const message = value as Fields;
    this.received.push(message);
    if (message['op'] === 'ping') this.sent.push({ type: 'pong', id: message['id'], time: this.now * 1000 });
    if (message['op'] === 'unsubscribe') this.subscribed = false;
    if (message['op'] === 'subscribe' && message['channel'] === 'book') this.#subscribe(message);
  }

  #subscribe(message: Fields): void {
    this.subscribed = true;
    const [since] = (message['since'] ?? []) as { epoch: string; sequence: number }[];
    const missed = since ? this.#missed(since.epoch, since.sequence) : null;
    const recovered = since ? missed !== null : null;
    this.sent.push({ type: 'subscribed', id: message['id'], channel: 'book', feeds: [{ ...KRAKEN, recovered }] });
    if (missed) for (const delta of missed) this.delta(delta);
    else this.snapshot();
  }

  #missed(epoch: string, sequence: number): Market['deltas'] | null {
    if (epoch !== this.market.epoch.toString()) return null;
    if (sequence === this.market.sequence) return [];
    const kept = this.market.deltas.slice(-this.history);
    const at = kept.findIndex(({ previous }) => previous === sequence);
    return at < 0 ? null : kept.slice(at);
  }

  #book(type: string, sequence: number, [bids, asks]: Sides, fields: Fields): void {
    const epoch = this.market.epoch.toString();
    const state = this.market.state(epoch, sequence);
    const crc = state && fields['valid'] !== false ? { checksum: checksum(state.bids, state.asks) } : {};
    const text = (side: Side) => [...side].map(levelOf).map(({ price, size }) => [price, size]);
    const levels =
      this.encoding === 'json'
        ? { bids: text(bids), asks: text(asks) }
        : { price_exponent: -PRICE_DECIMALS, size_exponent: -SIZE_DECIMALS, bids: [...bids].flat(), asks: [...asks].flat() };
    this.sent.push({ type, channel: 'book', ...KRAKEN, epoch, sequence, time: this.now * 1000, ...levels, ...crc, ...fields });
  }
}
