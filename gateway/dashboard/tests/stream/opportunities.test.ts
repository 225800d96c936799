// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { OpportunityBoard } from '../../src/stream/opportunities.ts';
import { opportunity } from '../messages.ts';

describe('OpportunityBoard', () => {
  it('lists the open ones by what they pay', () => {
    const board = new OpportunityBoard();
    board.apply(opportunity('a', { netBasisPoints: 1 }));
    board.apply(opportunity('b', { netBasisPoints: 5 }));
    board.apply(opportunity('a', { state: 'changed', netBasisPoints: 9 }));
    expect(board.open.map(({ id }) => id)).toEqual(['a', 'b']);
  });

  it('moves a closed one to the closed list with the best it ever paid', () => {
    const board = new OpportunityBoard();
    board.apply(opportunity('a', { netBasisPoints: 4, netProfit: '9.5' }));
    board.apply(opportunity('a', { state: 'changed', netBasisPoints: 6, netProfit: '10.25' }));
    board.apply(opportunity('a', { state: 'closed', netBasisPoints: -1, netProfit: '-2' }));
    expect(board.open).toEqual([]);
    expect(board.closed).toMatchObject([{ id: 'a', netProfit: '-2', bestNetProfit: '10.25', bestBasisPoints: 6 }]);
  });

  it('does not open again what has closed', () => {
    const board = new OpportunityBoard();
    board.apply(opportunity('a', { state: 'closed' }));
    board.apply(opportunity('a', { state: 'changed' }));
    board.apply(opportunity('a', { state: 'closed' }));
    expect([board.open.length, board.closed.length, board.closedTotal]).toEqual([0, 1, 1]);
  });

  it('keeps the latest closed ones, the newest first, in whatever order they come', () => {
    const board = new OpportunityBoard(3);
    for (const updatedTime of [30, 10, 40, 20, 50]) {
      board.apply(opportunity(String(updatedTime), { state: 'closed', updatedTime }));
    }
    expect(board.closed.map(({ id }) => id)).toEqual(['50', '40', '30']);
    expect(board.closedTotal).toBe(5);
  });

  it('puts out of sight with a snapshot what is not shown any more, and remembers the best of what is', () => {
    const board = new OpportunityBoard();
    board.apply(opportunity('gone'));
    board.apply(opportunity('here', { netBasisPoints: 7 }));
    board.reset([opportunity('here', { state: 'changed', netBasisPoints: 2 })]);
    expect(board.open).toMatchObject([{ id: 'here', netBasisPoints: 2, bestBasisPoints: 7 }]);
    expect(board.closed).toEqual([]);
  });

  it('remembers the best of what was out of sight for a while', () => {
    const board = new OpportunityBoard();
    board.apply(opportunity('a', { netBasisPoints: 7 }));
    board.apply(opportunity('b', { netBasisPoints: 3 }));
    board.reset([]);
    expect(board.open).toEqual([]);
    board.reset([opportunity('a', { state: 'changed', netBasisPoints: 2 })]);
    board.apply(opportunity('b', { state: 'closed', netBasisPoints: -1 }));
    expect(board.open).toMatchObject([{ id: 'a', bestBasisPoints: 7 }]);
    expect(board.closed).toMatchObject([{ id: 'b', bestBasisPoints: 3 }]);
  });

  it('keeps no more of those out of sight than of the closed ones', () => {
    const board = new OpportunityBoard(2);
    for (const id of ['a', 'b', 'c']) {
      board.apply(opportunity(id, { netBasisPoints: 7 }));
      board.reset([]);
    }
    board.reset(['a', 'b', 'c'].map((id) => opportunity(id, { netBasisPoints: 1 })));
    expect(board.open.map(({ id, bestBasisPoints }) => [id, bestBasisPoints])).toEqual([
      ['a', 1],
      ['b', 7],
      ['c', 7],
    ]);
  });
});
