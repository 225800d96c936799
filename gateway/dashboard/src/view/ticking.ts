/** The clock for ages and countdowns. */
import { useCallback, useSyncExternalStore } from 'react';

/** To within this the time is told; rounded up, so that no age is told too small. */
const STEP_MS = 100;

function stepsNow(): number {
  return Math.ceil(Date.now() / STEP_MS);
}

/**
 * Milliseconds since the epoch, renewed every `everyMs`, and whenever the component renders for another reason: what it
 * draws then may be younger than the last tick, and on a busy machine ticks are late.
 */
export function useNow(everyMs: number): number {
  const tick = useCallback(
    (listener: () => void) => {
      const timer = setInterval(listener, everyMs);
      return () => {
        clearInterval(timer);
      };
    },
    [everyMs],
  );
  return useSyncExternalStore(tick, stepsNow) * STEP_MS;
}
