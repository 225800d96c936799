/** What the page says of the age of what it shows: one badge, green only while connected and the data is young. */
import type { ConnectionState } from '@alphapulse/client';
import type { Ladder } from './ladder.ts';
import { duration, type Tone } from './words.ts';

export interface Badge {
  readonly tone: Tone;
  readonly word: string;
  /** The age of the book; null where it says nothing. */
  readonly age: string | null;
  readonly why: string;
}

/** A book that nobody has confirmed for longer is not late any more but gone. */
const LOST_MS = 60_000;

/** Microseconds by the gateway's clock at a local time (milliseconds); null until the gateway has told its time. */
export type ServerTime = (now: number) => number | null;

/** The age of a book of `time` (microseconds by the gateway's clock), milliseconds, not below 0; null where it is not known. */
export function ageOf(time: number, serverTime: number | null): number | null {
  return serverTime === null || time === 0 ? null : Math.max(0, (serverTime - time) / 1000);
}

/** A length of time in whole seconds, for what is counted up: "7 s", "3 m 05 s". */
export function seconds(milliseconds: number): string {
  return milliseconds < 60_000 ? `${Math.floor(milliseconds / 1000)} s` : duration(milliseconds);
}

function ofBook({ status, time }: Ladder, serverTime: number | null): Badge {
  const age = ageOf(time, serverTime);
  switch (status) {
    case 'valid':
      return { tone: 'good', word: 'Live', age: age === null ? null : duration(age), why: 'The age of the book shown' };
    case 'stale':
      return {
        tone: age !== null && age > LOST_MS ? 'bad' : 'doubtful',
        word: 'Late',
        age: age === null ? null : seconds(age),
        why: 'Nobody has confirmed the book shown for so long: it is not to be traded on',
      };
    case 'invalid':
      return { tone: 'doubtful', word: 'No valid book', age: null, why: 'The collector doubts the book and takes it up again' };
    case 'awaiting':
      return { tone: 'doubtful', word: 'Waiting', age: null, why: 'Waiting for the book shown' };
  }
}

/** `ladder`: the book shown, null while there is none; `catchingUp`: the gateway says so over REST. */
export function badgeOf(
  state: ConnectionState,
  ladder: Ladder | null,
  times: { readonly now: number; readonly serverTime: number | null },
  catchingUp: boolean,
): Badge {
  switch (state.phase) {
    case 'live':
      return ladder
        ? ofBook(ladder, times.serverTime)
        : { tone: 'doubtful', word: 'Waiting', age: null, why: 'Connected; no instrument is known yet' };
    case 'stale':
      return { tone: 'bad', word: 'Silent', age: null, why: 'Connected, but nothing came for two heartbeats' };
    case 'ended':
      return { tone: 'bad', word: 'Disconnected', age: null, why: state.reason };
    case 'connecting':
    case 'waiting':
      if (catchingUp) {
        return {
          tone: 'doubtful',
          word: 'Catching up',
          age: null,
          why: 'The gateway has just started and still reads what came before',
        };
      }
      if (state.phase === 'connecting') {
        return { tone: 'doubtful', word: 'Connecting', age: null, why: 'Opening the stream' };
      }
      return {
        tone: 'bad',
        word: state.retryAt - times.now < 1000 ? 'Reconnecting' : `Reconnecting in ${duration(state.retryAt - times.now)}`,
        age: null,
        why: state.reason,
      };
  }
}
