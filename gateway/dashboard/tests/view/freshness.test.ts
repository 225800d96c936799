// @vitest-environment node
import { describe, expect, it } from 'vitest';

import type { ConnectionState } from '@alphapulse/client';
import { ageOf, badgeOf, seconds } from '../../src/view/freshness.ts';
import { EMPTY_LADDER, ladderOf, type Ladder } from '../../src/view/ladder.ts';
import { emptyBook, snapshot, type BookParts } from '../messages.ts';

const TIME = snapshot().time;
const LIVE: ConnectionState = { phase: 'live' };

function ladder(parts: BookParts = {}): Ladder {
  const book = emptyBook();
  book.apply(snapshot(parts));
  return ladderOf(book);
}

const stale = ladder({ valid: false, reason: 'stale' });
const at = (milliseconds: number) => ({ now: 0, serverTime: TIME + milliseconds * 1000 });

it('tells an age from the gateway’s clock, once that is known', () => {
  expect(ageOf(TIME, TIME + 1_500_000)).toBe(1500);
  expect(ageOf(TIME, TIME - 1_500_000)).toBe(0);
  expect(ageOf(TIME, null)).toBeNull();
  expect(ageOf(0, TIME)).toBeNull();
  expect([seconds(999), seconds(12_900), seconds(185_000)]).toEqual(['0 s', '12 s', '3 m 05 s']);
});

describe('the badge', () => {
  it.each<[string, ConnectionState, Ladder | null, number, string, string, string | null]>([
    ['a young book', LIVE, ladder(), 40, 'good', 'Live', '40 ms'],
    ['a book not confirmed for long', LIVE, stale, 12_400, 'doubtful', 'Late', '12 s'],
    ['a book not confirmed for very long', LIVE, stale, 61_000, 'bad', 'Late', '1 m 01 s'],
    ['a book in doubt', LIVE, ladder({ valid: false }), 40, 'doubtful', 'No valid book', null],
    ['no book yet', LIVE, EMPTY_LADDER, 40, 'doubtful', 'Waiting', null],
    ['no instrument yet', LIVE, null, 40, 'doubtful', 'Waiting', null],
    ['a socket that says nothing', { phase: 'stale' }, ladder(), 40, 'bad', 'Silent', null],
    ['no socket', { phase: 'waiting', retryAt: 0, reason: 'gone' }, ladder(), 40, 'bad', 'Reconnecting', null],
    ['a first try', { phase: 'connecting' }, null, 40, 'doubtful', 'Connecting', null],
    ['a server that refuses', { phase: 'ended', reason: 'no' }, ladder(), 40, 'bad', 'Disconnected', null],
  ])('with %s', (_, state, shown, age, tone, word, told) => {
    expect(badgeOf(state, shown, at(age), false)).toMatchObject({ tone, word, age: told });
  });

  it('is never green but with a young book over a live connection', () => {
    const phases: ConnectionState[] = [
      { phase: 'connecting' },
      { phase: 'stale' },
      { phase: 'waiting', retryAt: 0, reason: '' },
      { phase: 'ended', reason: '' },
    ];
    for (const state of phases) {
      for (const catchingUp of [true, false]) {
        expect(badgeOf(state, ladder(), at(1), catchingUp).tone).not.toBe('good');
      }
    }
  });

  it('says that the gateway catches up while the stream cannot be opened for it', () => {
    for (const state of [{ phase: 'connecting' }, { phase: 'waiting', retryAt: 0, reason: 'lost' }] as const) {
      expect(badgeOf(state, null, at(0), true)).toMatchObject({ tone: 'doubtful', word: 'Catching up' });
    }
    expect(badgeOf(LIVE, ladder(), at(5), true).word).toBe('Live');
  });
});
