import { act, cleanup, render, screen } from '@testing-library/react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { MidChart } from '../../src/components/MidChart.tsx';
import { OpportunityBoard } from '../../src/stream/opportunities.ts';
import { EMPTY_LADDER, ladderOf } from '../../src/view/ladder.ts';
import { LivePicture } from '../../src/view/picture.ts';
import { quotesOf } from '../../src/view/quotes.ts';
import { emptyBook, opportunity, snapshot } from '../messages.ts';

/** A 2D context that notes what is drawn since the last clearing. */
class Paper {
  strokeStyle = '';
  fillStyle = '';
  texts: string[] = [];
  /** Colour of each stroked path with the points it goes through. */
  paths: [colour: string, points: [x: number, y: number][]][] = [];
  bands = 0;
  #points: [number, number][] = [];

  setTransform = () => undefined;
  beginPath = () => {
    this.#points = [];
  };
  moveTo = (x: number, y: number) => {
    this.#points.push([x, y]);
  };
  lineTo = this.moveTo;
  stroke = () => {
    this.paths.push([this.strokeStyle, this.#points]);
  };
  fillText = (text: string) => {
    this.texts.push(text);
  };
  fillRect = () => {
    this.bands += 1;
  };
  clearRect = () => {
    this.texts = [];
    this.paths = [];
    this.bands = 0;
  };
}

let paper: Paper;

beforeEach(() => {
  vi.useFakeTimers();
  paper = new Paper();
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockReturnValue(paper as unknown as null);
  vi.spyOn(HTMLCanvasElement.prototype, 'clientWidth', 'get').mockReturnValue(600);
  vi.spyOn(HTMLCanvasElement.prototype, 'clientHeight', 'get').mockReturnValue(200);
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

function ladder(bid: string, ask: string) {
  const book = emptyBook();
  book.apply(snapshot({ bids: [[bid, '1']], asks: [[ask, '1']] }));
  return ladderOf(book);
}

function show(open: boolean, ladders: Parameters<typeof quotesOf>[0]) {
  const board = new OpportunityBoard();
  if (open) board.apply(opportunity('a'));
  render(
    <MidChart
      symbol="BTC-USD"
      selectedVenue="kraken"
      quotes={new LivePicture(() => quotesOf(ladders))}
      opportunities={new LivePicture(() => ({ open: board.open, closed: [], closedTotal: 0 }))}
      colours={
        new Map([
          ['coinbase', 'teal'],
          ['kraken', 'violet'],
        ])
      }
    />,
  );
  act(() => {
    vi.advanceTimersByTime(1000);
  });
}

const path = (colour: string) => paper.paths.find(([stroke]) => stroke === colour)?.[1] ?? [];

describe('MidChart', () => {
  it('draws one line per venue, the higher price higher, with exact labels', () => {
    show(false, [
      ['coinbase', ladder('61600.00', '61601.00')],
      ['kraken', ladder('61603.00', '61604.00')],
    ]);
    expect([path('teal').length, path('violet').length]).toEqual([4, 4]);
    expect(path('violet')[0]?.[1]).toBeLessThan(path('teal')[0]?.[1] ?? 0);
    expect(paper.texts.slice(0, 4)).toEqual(['61,600.50', '61,601.50', '61,602.50', '61,603.50']);
    expect(paper.bands).toBe(0);
  });

  it('marks the time in which an opportunity was open', () => {
    show(true, [['kraken', ladder('100', '101')]]);
    expect(paper.bands).toBe(1);
  });

  it('draws nothing for a venue without a valid book', () => {
    show(false, [
      ['coinbase', EMPTY_LADDER],
      ['kraken', ladder('100', '101')],
    ]);
    expect([path('teal').length, path('violet').length]).toEqual([0, 4]);
  });

  it('names its venues', () => {
    show(false, []);
    expect(screen.getAllByRole('listitem').map(({ textContent }) => textContent)).toEqual([
      'coinbase',
      'kraken',
      'arbitrage open',
    ]);
    expect(paper.paths).toEqual([]);
  });
});
