import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Client, type ClientOptions, type OpenSocket, type SocketEvents } from '../src/client.ts';
import { KRAKEN, type Fields } from './gateway.ts';

/** A socket whose other end is the test. */
class ScriptedSocket {
  readonly events: SocketEvents;
  readonly sent: Fields[] = [];
  closedWith: number | null = null;
  paused = false;

  constructor(events: SocketEvents) {
    this.events = events;
  }

  send(data: string | Uint8Array): void {
    this.sent.push(JSON.parse(data as string) as Fields);
  }

  close(code: number): void {
    this.closedWith = code;
  }

  say(...messages: Fields[]): void {
    this.events.received(messages.map((message) => JSON.stringify(message)).join('\n'));
  }

  hello(fields: Fields = {}): void {
    this.events.opened();
    const head = { type: 'hello', version: 2, gateway: 'g', time: 1, heartbeat_ms: 5_000, max_book_age_ms: 5_000 };
    this.say({ ...head, access: 'open', ...fields });
  }

  trades(...ids: number[]): void {
    const trades = ids.map((id) => ({ id: String(id), side: 'buy', price: '1', size: '1', time: 1 }));
    this.say({ type: 'trades', channel: 'trades', ...KRAKEN, trades });
  }
}

class PausableSocket extends ScriptedSocket {
  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }
}

const sockets: ScriptedSocket[] = [];
const clients: Client[] = [];

function client(options: ClientOptions = {}, kind = ScriptedSocket): Client {
  const openSocket: OpenSocket = (_url, subprotocol, events) => {
    expect(subprotocol).toBe('alphapulse.v2.json');
    const socket = new kind(events);
    sockets.push(socket);
    return socket;
  };
  const made = new Client('ws://127.0.0.1/ws/v2', { openSocket, random: () => 0, ...options });
  clients.push(made);
  return made;
}

function socket(at = -1): ScriptedSocket {
  const found = sockets.at(at);
  if (!found) throw new Error('no socket');
  return found;
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  for (const each of clients.splice(0)) each.close();
  sockets.length = 0;
  vi.useRealTimers();
});

/** A microtask or two: promises settle. */
const settled = () => vi.advanceTimersByTimeAsync(0);

describe('a client', () => {
  it('connects, subscribes, and gives messages as an iterator', async () => {
    const made = client();
    const connecting = made.connect();
    const trades = made.subscribe('trades', { ...KRAKEN, interval_ms: 100 });
    socket().hello();
    await connecting;
    expect(socket().sent).toEqual([{ op: 'subscribe', channel: 'trades', ...KRAKEN, interval_ms: 100, id: 2 }]);
    socket().say({ type: 'subscribed', id: 2, channel: 'trades', feeds: [{ ...KRAKEN, recovered: null }] });
    await trades.confirmed();
    socket().trades(1);
    socket().trades(2);
    const found: string[] = [];
    for await (const message of trades) {
      if (message.type === 'trades') found.push(...message.trades.map(({ id }) => id));
      if (found.length === 2) break;
    }
    expect(found).toEqual(['1', '2']);
    expect(socket().sent.at(-1)).toMatchObject({ op: 'unsubscribe' });
    expect(await trades.next()).toEqual({ done: true, value: undefined });
  });

  it('connects again and continues', async () => {
    const made = client();
    void made.connect();
    const seen: string[] = [];
    made.subscribe('trades', { ...KRAKEN, onMessage: ({ type }) => seen.push(type) });
    socket().hello();
    socket().say({ type: 'subscribed', id: 2, channel: 'trades', feeds: [{ ...KRAKEN, recovered: null }] });
    socket().trades(1);
    socket().events.closed(1006, '');
    expect(made.state).toMatchObject({ phase: 'waiting', reason: 'connection lost' });
    await vi.advanceTimersByTimeAsync(100);
    socket().hello();
    expect(socket().sent[0]?.['since']).toEqual([{ ...KRAKEN, trade_id: '1' }]);
    socket().say({ type: 'subscribed', id: 3, channel: 'trades', feeds: [{ ...KRAKEN, recovered: false }] });
    expect(seen).toEqual(['trades', 'gap']);
    // A late report of the first one changes nothing.
    sockets[0]?.events.closed(1006, '');
    expect(made.state.phase).toBe('live');
  });

  it('pauses a socket that can be paused while the user is slow', async () => {
    const made = client({ queueSize: 2 }, PausableSocket);
    void made.connect();
    const trades = made.subscribe('trades', KRAKEN);
    socket().hello();
    for (const id of [1, 2, 3]) socket().trades(id);
    expect(socket().paused).toBe(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(made.state.phase).toBe('live');
    for (const id of ['1', '2', '3']) expect((await trades.next()).value).toMatchObject({ trades: [{ id }] });
    expect(socket().paused).toBe(false);
  });

  it('tells what was thrown away where the socket cannot be paused', async () => {
    const made = client({ queueSize: 2 });
    void made.connect();
    const trades = made.subscribe('trades', KRAKEN);
    socket().hello();
    for (const id of [1, 2, 3, 4]) socket().trades(id);
    for (const id of ['1', '2']) expect((await trades.next()).value).toMatchObject({ trades: [{ id }] });
    expect((await trades.next()).value).toMatchObject({ type: 'gap', reason: 'overflow' });
    expect(socket().sent.at(-1)).toMatchObject({ op: 'subscribe' });
    expect(socket().sent.at(-1)).not.toHaveProperty('since');
  });

  it('sends tokens in band, again before they expire', async () => {
    const tokens = ['one', 'two', 'two'];
    const made = client({ token: () => Promise.resolve(tokens.shift() ?? '') });
    void made.connect();
    const trades = made.subscribe('trades', KRAKEN);
    socket().hello({ access: 'required' });
    await settled();
    expect(socket().sent).toMatchObject([{ op: 'auth', token: 'one' }]);
    socket().say({ type: 'authenticated', id: 2, identity: 'x', scopes: [], expires: 5 });
    socket().say({ type: 'token_expiring', expires: 5 });
    await settled();
    expect(socket().sent.at(-1)).toMatchObject({ op: 'auth', token: 'two' });
    socket().events.closed(3000, 'token expired');
    await vi.advanceTimersByTimeAsync(500);
    socket().hello({ access: 'required' });
    await settled();
    expect(made.state).toMatchObject({ phase: 'ended' });
    await expect(trades.next()).rejects.toThrow('refused this token before');
  });

  it('ends where a token is required and there is none, and where the function fails', async () => {
    for (const options of [{}, { token: () => Promise.reject(new Error('no vault')) }]) {
      const made = client(options);
      void made.connect();
      socket().hello({ access: 'required' });
      await settled();
      expect(made.state.phase).toBe('ended');
    }
  });

  it('ends when the gateway says not to come back, and can be told to try all the same', async () => {
    const made = client();
    const connecting = made.connect();
    let ended = '';
    made.subscribe('trades', { ...KRAKEN, onEnd: ({ name }) => (ended = name) });
    socket().events.closed(3500, 'misuse');
    await expect(connecting).rejects.toThrow('misuse');
    expect(ended).toBe('ConnectionRefused');
    expect(() => made.subscribe('stats', KRAKEN)).toThrow('misuse');
    made.retryNow();
    expect(sockets).toHaveLength(2);
    socket().hello();
    expect(made.state.phase).toBe('live');
  });

  it('raises a refused subscription where it is read', async () => {
    const made = client();
    void made.connect();
    const trades = made.subscribe('trades', KRAKEN);
    const next = trades.next();
    socket().hello();
    socket().say({ type: 'error', id: 2, code: 'unknown_instrument', message: 'no' });
    await expect(next).rejects.toThrow('unknown_instrument: no');
    await expect(trades.confirmed()).rejects.toThrow('unknown_instrument: no');
  });

  it('gives snapshots on demand', async () => {
    const made = client();
    void made.connect();
    socket().hello();
    const asked = made.snapshot('trades', KRAKEN);
    expect(socket().sent).toEqual([{ op: 'snapshot', channel: 'trades', ...KRAKEN, id: 1 }]);
    socket().say({ type: 'snapshot', channel: 'trades', ...KRAKEN, id: 1, trades: [] }, { type: 'done', id: 1, feeds: 1 });
    expect(await asked).toHaveLength(1);
    const refused = made.snapshot('trades', KRAKEN);
    socket().say({ type: 'error', id: 2, code: 'forbidden', message: 'no' });
    await expect(refused).rejects.toThrow('forbidden');
  });

  it('replaces a silent connection', async () => {
    const made = client();
    void made.connect();
    socket().hello();
    await vi.advanceTimersByTimeAsync(11_000);
    expect(made.state.phase).toBe('stale');
    await vi.advanceTimersByTimeAsync(5_000);
    expect(sockets[0]?.closedWith).toBe(4900);
    expect(sockets).toHaveLength(2);
  });

  it('gives up an attempt without an answer, and says when none came in time', async () => {
    const made = client();
    const connecting = made.connect(5_000);
    const failed = expect(connecting).rejects.toThrow('no connection in 5 s; no answer');
    await vi.advanceTimersByTimeAsync(11_000);
    await failed;
    expect(sockets).toHaveLength(2);
  });

  it('keeps a book for pages that only look at it', () => {
    const made = client();
    void made.connect();
    made.subscribe('book', { ...KRAKEN, levels: 10, onMessage: () => undefined });
    socket().hello();
    expect(socket().sent[0]).toMatchObject({ checksum: true, levels: 10 });
    const head = { channel: 'book', ...KRAKEN, epoch: '1', time: 1, valid: true, reason: null, asks: [] };
    socket().say({ type: 'snapshot', ...head, sequence: 1, bids: [['1.5', '2']] });
    expect(made.book('kraken', 'BTC-USD')?.bestBid).toMatchObject({ price: '1.5', size: '2' });
    expect(made.book('kraken', 'ETH-USD')).toBeNull();
    expect(made.gatewayTime()).not.toBeNull();
    expect(made.counters.messages).toBe(2);
  });

  it('ends its iterations when it is closed', async () => {
    const made = client();
    void made.connect();
    const trades = made.subscribe('trades', KRAKEN);
    const next = trades.next();
    socket().hello();
    made.close();
    await expect(next).rejects.toThrow('the client is closed');
    expect(socket().closedWith).toBe(1000);
  });
});
