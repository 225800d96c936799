/** Bundles any number of changes into one callback per animation frame. */

export interface FrameSource {
  readonly request: (callback: (time: number) => void) => number;
  readonly cancel: (handle: number) => void;
}

const browserFrames: FrameSource = {
  request: (callback) => requestAnimationFrame(callback),
  cancel: (handle) => {
    cancelAnimationFrame(handle);
  },
};

/** At most one flush in this time: nobody reads a price at 144 Hz, and the machine has other work. */
export const SHORTEST_FRAME_MS = 50;

export class FrameBundle {
  readonly #flush: () => void;
  readonly #frames: FrameSource;
  #handle: number | null = null;
  #last = Number.NEGATIVE_INFINITY;

  constructor(flush: () => void, frames: FrameSource = browserFrames) {
    this.#flush = flush;
    this.#frames = frames;
  }

  /** Asks for a flush at the next frame; any number of calls make one flush. */
  request(): void {
    this.#handle ??= this.#frames.request(this.#onFrame);
  }

  cancel(): void {
    if (this.#handle !== null) this.#frames.cancel(this.#handle);
    this.#handle = null;
  }

  readonly #onFrame = (time: number): void => {
    this.#handle = null;
    // One millisecond of grace: frames do not come at exact distances.
    if (time - this.#last < SHORTEST_FRAME_MS - 1) {
      this.request();
      return;
    }
    this.#last = time;
    this.#flush();
  };
}
