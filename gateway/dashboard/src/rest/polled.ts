/** Repeated GETs as a React hook. */
import { useEffect, useState } from 'react';

import { get, RequestError } from './api.ts';

export interface Polled<T> {
  /** The last good answer; null before the first. */
  readonly value: T | null;
  /** Why the latest request failed; null when it did not. */
  readonly problem: string | null;
  /** The gateway's own word for it, if it had one. */
  readonly code: string | null;
}

/** How long a request may take before it counts as failed. */
const TIMEOUT_MS = 5_000;

/**
 * Asks again `everyMs` after each answer (never two requests at once), and not at all while the page is hidden.
 * `read` must be a constant function.
 */
export function usePolled<T>(path: string, read: (body: unknown) => T, everyMs: number): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({ value: null, problem: null, code: null });

  useEffect(() => {
    const stopped = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;

    const poll = async () => {
      if (!document.hidden) {
        try {
          const value = await get(path, read, AbortSignal.any([stopped.signal, AbortSignal.timeout(TIMEOUT_MS)]));
          if (stopped.signal.aborted) return;
          setPolled({ value, problem: null, code: null });
        } catch (error) {
          if (stopped.signal.aborted) return;
          if (!(error instanceof RequestError)) throw error;
          setPolled(({ value }) => ({ value, problem: error.message, code: error.code }));
        }
      }
      timer = setTimeout(() => void poll(), everyMs);
    };

    void poll();
    return () => {
      stopped.abort();
      clearTimeout(timer);
    };
  }, [path, read, everyMs]);

  return polled;
}
