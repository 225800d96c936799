import { ageOf, seconds, type ServerTime } from '../view/freshness.ts';
import { useNow } from '../view/ticking.ts';

interface StaleForProps {
  /** When the book was last confirmed, microseconds by the gateway's clock. */
  readonly time: number;
  readonly serverTime: ServerTime;
}

/** "stale for 7 s", counting up. */
export function StaleFor({ time, serverTime }: StaleForProps) {
  const now = useNow(500);
  const age = ageOf(time, serverTime(now));
  return <>{age === null ? 'stale' : `stale for ${seconds(age)}`}</>;
}
