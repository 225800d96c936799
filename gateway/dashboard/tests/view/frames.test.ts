// @vitest-environment node
import { describe, expect, it } from 'vitest';

import { FrameBundle, SHORTEST_FRAME_MS } from '../../src/view/frames.ts';
import { manualFrames } from '../frames.ts';

describe('FrameBundle', () => {
  it('makes one flush of any number of requests', () => {
    const frames = manualFrames();
    let flushes = 0;
    const bundle = new FrameBundle(() => (flushes += 1), frames);
    for (let n = 0; n < 1000; n += 1) bundle.request();
    expect(frames.frame(0)).toBe(1);
    expect(flushes).toBe(1);
    expect(frames.frame(100)).toBe(0);
  });

  it('lets frames pass that come too soon, and loses nothing', () => {
    const frames = manualFrames();
    let flushes = 0;
    const bundle = new FrameBundle(() => (flushes += 1), frames);
    bundle.request();
    frames.frame(0);
    bundle.request();
    frames.frame(SHORTEST_FRAME_MS / 2);
    expect(flushes).toBe(1);
    frames.frame(SHORTEST_FRAME_MS);
    expect(flushes).toBe(2);
  });

  it('forgets a cancelled request', () => {
    const frames = manualFrames();
    let flushes = 0;
    const bundle = new FrameBundle(() => (flushes += 1), frames);
    bundle.request();
    bundle.cancel();
    expect(frames.frame(0)).toBe(0);
    bundle.request();
    frames.frame(10);
    expect(flushes).toBe(1);
  });
});
