import { useEffect, useRef } from 'react';

import { grouped } from '@alphapulse/client';
import { heightOf, labelsOf, MidHistory, rangeOf, type PriceRange } from '../view/history.ts';
import type { QuotesPicture } from '../view/quotes.ts';
import type { Picture } from '../view/picture.ts';
import type { ArbitragePicture } from '../view/store.ts';
import { clock, venueName } from '../view/words.ts';
import { Panel } from './Panel.tsx';

const LONGEST_SPAN_MS = 120_000;
const SHORTEST_SPAN_MS = 20_000;
const SAMPLE_MS = 250;
const LABELS = 4;
/** Distance between two times on the axis: the first that leaves at most six. */
const TIME_STEPS_MS = [5_000, 10_000, 15_000, 30_000];
const MARGIN = { top: 8, right: 74, bottom: 16, left: 8 } as const;

interface Frame {
  readonly context: CanvasRenderingContext2D;
  readonly width: number;
  readonly height: number;
  readonly now: number;
  /** Milliseconds from the left end to the right end. */
  readonly span: number;
}

function xOf({ width, now, span }: Frame, time: number): number {
  return width - MARGIN.right - ((now - time) / span) * (width - MARGIN.left - MARGIN.right);
}

/** Fits the bitmap to the element and its screen; null where there is nothing to draw on. */
function prepare(canvas: HTMLCanvasElement, history: MidHistory): Frame | null {
  const context = canvas.getContext('2d');
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!context || width === 0 || height === 0) return null;
  const density = window.devicePixelRatio;
  const [w, h] = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  const now = Date.now();
  // The line fills the chart from the start; it only gets denser.
  const age = now - (history.samples[0]?.time ?? now);
  return { context, width, height, now, span: Math.min(LONGEST_SPAN_MS, Math.max(SHORTEST_SPAN_MS, age)) };
}

/** One rectangle for each uninterrupted time: neighbours would leave seams. */
function drawBands(frame: Frame, history: MidHistory, colour: string): void {
  const { context, height } = frame;
  context.fillStyle = colour;
  let from: number | null = null;
  const fillTo = (time: number) => {
    if (from === null) return;
    const x = Math.max(MARGIN.left, xOf(frame, from));
    context.fillRect(x, MARGIN.top, xOf(frame, time) - x, height - MARGIN.top - MARGIN.bottom);
    from = null;
  };
  for (const { time, arbitrage } of history.samples) {
    if (arbitrage) from ??= time;
    else fillTo(time);
  }
  fillTo(frame.now);
}

function drawAxes(frame: Frame, labels: readonly string[], style: CSSStyleDeclaration): void {
  const { context, width, height, now, span } = frame;
  const bottom = height - MARGIN.bottom;
  context.font = `10px ${style.getPropertyValue('--mono')}`;
  context.fillStyle = style.getPropertyValue('--muted');
  context.strokeStyle = style.getPropertyValue('--line');
  context.lineWidth = 1;
  context.textBaseline = 'middle';
  context.textAlign = 'left';
  labels.forEach((label, n) => {
    const y = Math.round(bottom - (n / (labels.length - 1)) * (bottom - MARGIN.top)) + 0.5;
    context.beginPath();
    context.moveTo(MARGIN.left, y);
    context.lineTo(width - MARGIN.right, y);
    context.stroke();
    context.fillText(grouped(label), width - MARGIN.right + 6, y);
  });
  context.textAlign = 'center';
  const step = TIME_STEPS_MS.find((ms) => span / ms <= 6) ?? 30_000;
  for (let time = Math.floor(now / step) * step; time > now - span; time -= step) {
    const x = xOf(frame, time);
    if (x > MARGIN.left + 24) context.fillText(clock(time * 1000), x, height - 6);
  }
}

function drawVenue(frame: Frame, history: MidHistory, venue: string, range: PriceRange, colour: string, strong: boolean) {
  const { context, height } = frame;
  const bottom = height - MARGIN.bottom;
  context.strokeStyle = colour;
  context.lineWidth = strong ? 1.8 : 1.1;
  context.globalAlpha = strong ? 1 : 0.75;
  context.lineJoin = 'round';
  context.beginPath();
  let drawing = false;
  for (const { time, mids } of history.samples) {
    const mid = mids.get(venue);
    if (!mid) {
      drawing = false;
      continue;
    }
    const x = xOf(frame, time);
    const y = bottom - heightOf(mid, range) * (bottom - MARGIN.top);
    if (drawing) context.lineTo(x, y);
    else context.moveTo(x, y);
    drawing = true;
  }
  context.stroke();
  context.globalAlpha = 1;
}

interface MidChartProps {
  readonly symbol: string;
  readonly selectedVenue: string;
  readonly quotes: Picture<QuotesPicture>;
  readonly opportunities: Picture<ArbitragePicture>;
  readonly colours: ReadonlyMap<string, string>;
}

/** The mid of every venue over the last two minutes; gold where an opportunity was open. Four drawings a second. */
export function MidChart({ symbol, selectedVenue, quotes, opportunities, colours }: MidChartProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const history = useRef<{ symbol: string; mids: MidHistory } | null>(null);

  useEffect(() => {
    if (history.current?.symbol !== symbol) history.current = { symbol, mids: new MidHistory(LONGEST_SPAN_MS) };
    const { mids } = history.current;

    const sample = () => {
      const { rows } = quotes.read();
      mids.add({
        time: Date.now(),
        mids: new Map(
          rows.flatMap(({ venue, ladder }) => (ladder.mid && ladder.status === 'valid' ? [[venue, ladder.mid]] : [])),
        ),
        arbitrage: opportunities.read().open?.some((opportunity) => opportunity.symbol === symbol) ?? false,
      });
    };

    const draw = () => {
      const element = canvas.current;
      const frame = element ? prepare(element, mids) : null;
      const range = rangeOf(mids.samples);
      if (!element || !frame || !range) return;
      const style = getComputedStyle(element);
      const { rows, priceDecimals } = quotes.read();
      drawBands(frame, mids, style.getPropertyValue('--gold-veil'));
      drawAxes(frame, labelsOf(range, LABELS, priceDecimals), style);
      const others = rows.map(({ venue }) => venue).filter((venue) => venue !== selectedVenue);
      for (const venue of [...others, selectedVenue]) {
        drawVenue(frame, mids, venue, range, colours.get(venue) ?? 'gray', venue === selectedVenue);
      }
    };

    const timer = setInterval(() => {
      sample();
      if (!document.hidden) draw();
    }, SAMPLE_MS);
    return () => {
      clearInterval(timer);
    };
  }, [symbol, selectedVenue, quotes, opportunities, colours]);

  return (
    <Panel
      title="Mid prices"
      area="chart"
      aside={
        <ul className="legend" aria-label="Venues on the chart">
          {[...colours].map(([venue, colour]) => (
            <li key={venue}>
              <span className="swatch" style={{ background: colour }} aria-hidden="true" />
              {venueName(venue)}
            </li>
          ))}
          <li>
            <span className="swatch gold" aria-hidden="true" />
            arbitrage open
          </li>
        </ul>
      }
    >
      <canvas ref={canvas} role="img" aria-label={`Mid price of ${symbol} by venue, the last two minutes`} />
    </Panel>
  );
}
