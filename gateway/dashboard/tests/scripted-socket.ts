/** A socket whose other end is the test. */
import type { ClientMessage } from '../src/stream/protocol.ts';
import type { OpenSocket, SocketEvents } from '../src/stream/connection.ts';

export class ScriptedSocket {
  readonly url: string;
  readonly events: SocketEvents;
  readonly sent: ClientMessage[] = [];
  closedWith: number | null = null;

  constructor(url: string, events: SocketEvents) {
    this.url = url;
    this.events = events;
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ClientMessage);
  }

  close(code: number): void {
    this.closedWith = code;
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
    open: (url, events) => {
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
