// @vitest-environment node
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { CLOSED_BY_PAGE, CLOSED_DEAD } from '../../src/stream/backoff.ts';
import { Connection } from '../../src/stream/connection.ts';
import { DEFAULT_HEARTBEAT_MS } from '../../src/stream/heartbeat.ts';
import { Session } from '../../src/stream/session.ts';
import { KRAKEN } from '../messages.ts';
import { socketScript } from '../scripted-socket.ts';

let script: ReturnType<typeof socketScript>;
let session: Session;
let connection: Connection;
let activity: number;

beforeEach(() => {
  vi.useFakeTimers();
  script = socketScript();
  session = new Session();
  session.want([{ channel: 'book', ...KRAKEN }], 0);
  activity = 0;
  connection = new Connection(session, {
    url: 'ws://test/ws/v1',
    loopback: false,
    openSocket: script.open,
    random: () => 0.5,
    onActivity: () => {
      activity += 1;
    },
  });
  connection.start();
});

afterEach(() => {
  connection.stop();
  vi.useRealTimers();
});

describe('Connection', () => {
  it('connects, subscribes and is live', () => {
    expect([script.last().url, connection.state.phase]).toEqual(['ws://test/ws/v1', 'connecting']);
    script.last().events.opened();
    expect(connection.state.phase).toBe('live');
    expect(script.last().sent).toMatchObject([{ op: 'subscribe', channel: 'book', venue: 'kraken' }]);
    expect(activity).toBeGreaterThan(0);
  });

  it('sends nothing before it is open', () => {
    session.want([], 0);
    connection.flush();
    expect(script.last().sent).toEqual([]);
  });

  it('comes back after a loss, later each time, and subscribes again', () => {
    script.last().events.opened();
    script.last().events.closed(1006, '');
    expect(connection.state).toMatchObject({ phase: 'waiting', reason: 'connection lost', retryAt: Date.now() + 250 });
    vi.advanceTimersByTime(249);
    expect(script.sockets).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(script.sockets).toHaveLength(2);
    script.last().events.closed(1006, '');
    expect(connection.state).toMatchObject({ retryAt: Date.now() + 500 });
    vi.advanceTimersByTime(500);
    script.last().events.opened();
    expect(script.last().sent).toMatchObject([{ op: 'subscribe' }]);
  });

  it('starts from the shortest delay again after a good connection', () => {
    for (let n = 0; n < 4; n += 1) {
      script.last().events.closed(1006, '');
      vi.runOnlyPendingTimers();
    }
    script.last().events.opened();
    vi.advanceTimersByTime(6_000);
    script.last().events.closed(1001, '');
    expect(connection.state).toMatchObject({ retryAt: Date.now() + 250, reason: 'the gateway is going away' });
  });

  it('waits 5 to 30 s when the gateway restarts', () => {
    script.last().events.opened();
    script.last().events.closed(1012, '');
    expect(connection.state).toMatchObject({ retryAt: Date.now() + 17_500, reason: 'the gateway is restarting' });
  });

  it('stays away after a terminal code, until told otherwise', () => {
    script.last().events.opened();
    script.last().events.closed(3500, 'too many refused messages');
    expect(connection.state).toEqual({ phase: 'ended', reason: 'too many refused messages' });
    vi.advanceTimersByTime(120_000);
    expect(script.sockets).toHaveLength(1);
    connection.retryNow();
    expect(script.sockets).toHaveLength(2);
    connection.retryNow();
    expect(script.sockets).toHaveLength(2);
  });

  it('is stale without messages, live with the next, and gives a dead connection up', () => {
    script.last().events.opened();
    vi.advanceTimersByTime(2 * DEFAULT_HEARTBEAT_MS);
    expect(connection.state.phase).toBe('stale');
    script.last().say({ type: 'heartbeat', time: 0 });
    expect(connection.state.phase).toBe('live');
    vi.advanceTimersByTime(4 * DEFAULT_HEARTBEAT_MS);
    expect(script.sockets[0]?.closedWith).toBe(CLOSED_DEAD);
    expect(connection.state).toMatchObject({ phase: 'waiting', reason: 'no message for too long' });
    vi.advanceTimersByTime(1_000);
    expect(script.sockets).toHaveLength(2);
  });

  it('gives up an attempt that is never answered', () => {
    vi.advanceTimersByTime(10_000);
    expect(script.sockets[0]?.closedWith).toBe(CLOSED_DEAD);
    expect(connection.state.phase).toBe('waiting');
  });

  it('pings', () => {
    script.last().events.opened();
    vi.advanceTimersByTime(DEFAULT_HEARTBEAT_MS);
    expect(script.last().sent.filter(({ op }) => op === 'ping')).toHaveLength(1);
  });

  it('does not listen to a socket it has let go of', () => {
    const first = script.last();
    first.events.opened();
    connection.stop();
    expect(first.closedWith).toBe(CLOSED_BY_PAGE);
    connection.start();
    first.events.closed(1006, '');
    first.say({ type: 'hello', version: 1, heartbeat_ms: 300 });
    expect([connection.state.phase, session.heartbeat.everyMs]).toEqual(['connecting', DEFAULT_HEARTBEAT_MS]);
  });

  it('stops for good', () => {
    script.last().events.closed(1006, '');
    connection.stop();
    vi.advanceTimersByTime(60_000);
    expect(script.sockets).toHaveLength(1);
  });
});

describe('in the browser', () => {
  it('uses a WebSocket', () => {
    const made: { url: string; onmessage?: (event: { data: unknown }) => void; onopen?: () => void }[] = [];
    vi.stubGlobal(
      'WebSocket',
      class {
        url: string;
        close = () => undefined;
        send = () => undefined;
        constructor(url: string) {
          this.url = url;
          made.push(this);
        }
      },
    );
    const real = new Connection(session, { url: 'ws://real/ws/v1', loopback: true, onActivity: () => undefined });
    real.start();
    made[0]?.onopen?.();
    made[0]?.onmessage?.({ data: new Blob() });
    made[0]?.onmessage?.({ data: '{"type":"hello","version":1,"heartbeat_ms":777,"max_book_age_ms":5000,"time":1}' });
    expect([made[0]?.url, session.heartbeat.everyMs, session.counters.messages]).toEqual(['ws://real/ws/v1', 777, 1]);
    real.stop();
    vi.unstubAllGlobals();
  });
});
