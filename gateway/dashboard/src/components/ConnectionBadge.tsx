import { badgeOf, type ServerTime } from '../view/freshness.ts';
import { EMPTY_BOOK, type BookPicture, type ConnectionPicture } from '../view/store.ts';
import { usePicture, type Picture } from '../view/picture.ts';
import { useNow } from '../view/ticking.ts';
import { count, duration } from '../view/words.ts';
import { Dot } from './Status.tsx';

interface ConnectionBadgeProps {
  readonly picture: Picture<ConnectionPicture>;
  /** The book shown; null while there is none. */
  readonly book: Picture<BookPicture> | null;
  readonly serverTime: ServerTime;
  readonly catchingUp: boolean;
  readonly onReconnect: () => void;
}

/** How old the data is that the page shows, or why there is none. */
export function ConnectionBadge({ picture, book, serverTime, catchingUp, onReconnect }: ConnectionBadgeProps) {
  const { state, messagesPerSecond, gaps, unreadable, roundTripMs, problem } = usePicture(picture);
  const { ladder } = (book ?? EMPTY_BOOK).read();
  const now = useNow(500);
  const times = { now, serverTime: serverTime(now) };
  const { tone, word, age, why } = badgeOf(state, book ? ladder : null, times, catchingUp);
  const offline = state.phase === 'waiting' || state.phase === 'ended';
  const figures = [
    `${gaps} sequence ${gaps === 1 ? 'gap' : 'gaps'}`,
    `${unreadable} unreadable messages`,
    ...(roundTripMs === null ? [] : [`round trip ${duration(roundTripMs)}`]),
    ...(problem ? [problem] : []),
  ].join(' · ');
  return (
    <div className={`pill connection ${tone}`} title={`${why} · ${figures}`}>
      <Dot tone={tone} />
      <span role="status" className="word">
        {word}
        {age === null ? null : ` · ${age}`}
      </span>
      {offline && !catchingUp ? (
        <>
          <span className="why">{why}</span>
          <button type="button" className="quiet" onClick={onReconnect}>
            Connect now
          </button>
        </>
      ) : (
        <span className="figures">
          {count(messagesPerSecond)} msg/s
        </span>
      )}
      {gaps + unreadable > 0 ? (
        <span className="badge amber">
          {gaps} gaps{unreadable > 0 ? ` · ${unreadable} unreadable` : ''}
        </span>
      ) : null}
    </div>
  );
}
