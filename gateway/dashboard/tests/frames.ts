/** Animation frames that come when the test says so. */
import type { FrameSource } from '../src/view/frames.ts';

export interface ManualFrames extends FrameSource {
  /** Runs the callbacks waiting for a frame; returns how many there were. */
  readonly frame: (time: number) => number;
}

export function manualFrames(): ManualFrames {
  let waiting = new Map<number, (time: number) => void>();
  let next = 1;
  return {
    request: (callback) => {
      waiting.set(next, callback);
      return next++;
    },
    cancel: (handle) => {
      waiting.delete(handle);
    },
    frame: (time) => {
      const due = waiting;
      waiting = new Map();
      for (const callback of due.values()) callback(time);
      return due.size;
    },
  };
}
