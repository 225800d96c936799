// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { Tape } from '../../src/stream/tape.ts';
import { trade } from '../messages.ts';

const ids = (tape: Tape, count = 99) => tape.newest(count).map(({ id }) => id);

describe('Tape', () => {
  it('gives the newest first and no more than asked', () => {
    const tape = new Tape(5);
    tape.push([trade('1'), trade('2'), trade('3')]);
    expect(ids(tape)).toEqual(['3', '2', '1']);
    expect(ids(tape, 2)).toEqual(['3', '2']);
  });

  it('forgets the oldest when it is full, however many come at once', () => {
    const tape = new Tape(3);
    tape.push(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((id) => trade(id)));
    expect(ids(tape)).toEqual(['h', 'g', 'f']);
    expect(tape.total).toBe(8);
  });

  it('leaves out a trade it still holds, and takes one it has forgotten', () => {
    const tape = new Tape(2);
    tape.push([trade('1'), trade('2'), trade('2')]);
    expect([ids(tape), tape.total]).toEqual([['2', '1'], 2]);
    tape.push([trade('3'), trade('1')]);
    expect(ids(tape)).toEqual(['1', '3']);
  });

  it('starts over from a snapshot', () => {
    const tape = new Tape(4);
    tape.push([trade('1'), trade('2')]);
    tape.reset([trade('2'), trade('9')]);
    expect(ids(tape)).toEqual(['9', '2']);
  });
});
