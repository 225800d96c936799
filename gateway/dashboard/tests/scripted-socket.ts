/** A socket whose other end is the test. */
import type { OpenSocket, SocketEvents } from '@alphapulse/client';

import { hello } from './messages.ts';

/** What the page says. */
export interface ClientMessage {
  readonly op: string;
  readonly id: number;
  readonly channel?: string;
  readonly venue?: string;
  readonly symbol?: string;
}

export class ScriptedSocket {
  readonly url: string;
  readonly events: SocketEvents;
  readonly sent: ClientMessage[] = [];
  closedWith: number | null = null;

  constructor(url: string, events: SocketEvents) {
    this.url = url;
    this.events = events;
  }

  send(data: string | Uint8Array): void {
    this.sent.push(JSON.parse(data as string) as ClientMessage);
  }

  close(code: number): void {
    this.closedWith = code;
  }

  /** The connection is up, and the gateway says hello; by default at the time of the messages of messages.ts. */
  open(time = 1_723_100_000_000_000, maxBookAgeMs = 60_000): void {
    this.opened(time, { max_book_age_ms: maxBookAgeMs });
  }

  /** The same, with other fields in hello. */
  opened(time: number, fields: Readonly<Record<string, unknown>>): void {
    this.events.opened();
    this.say(hello(time, fields));
  }

  /** Says something to the page. */
  say(message: unknown): void {
    this.events.received(JSON.stringify(message));
  }

  /** The id of the latest subscription to the channel. */
  idOf(channel: string, venue?: string): number {
    const found = this.sent.findLast(
      (message) => message.op === 'subscribe' && message.channel === channel && (!venue || message.venue === venue),
    );
    if (!found) throw new Error(`nothing was subscribed on ${channel}`);
    return found.id;
  }
}

/** A factory of sockets and all it made, newest last. */
export function socketScript(): { readonly open: OpenSocket; readonly sockets: ScriptedSocket[]; last: () => ScriptedSocket } {
  const sockets: ScriptedSocket[] = [];
  return {
    sockets,
    open: (url, _subprotocol, events) => {
      const socket = new ScriptedSocket(url, events);
      sockets.push(socket);
      return socket;
    },
    last: () => {
      const socket = sockets.at(-1);
      if (!socket) throw new Error('no socket was opened');
      return socket;
    },
  };
}
