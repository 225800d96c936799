import type { ConnectionState } from '../stream/connection.ts';
import { usePicture, type Picture } from '../view/picture.ts';
import type { ConnectionPicture } from '../view/store.ts';
import { useNow } from '../view/ticking.ts';
import { count, duration, type Tone } from '../view/words.ts';
import { Dot } from './Status.tsx';

function wordsOf(state: ConnectionState, now: number): { readonly tone: Tone; readonly word: string; readonly why: string } {
  switch (state.phase) {
    case 'connecting':
      return { tone: 'doubtful', word: 'Connecting', why: 'Opening the stream' };
    case 'live':
      return { tone: 'good', word: 'Live', why: 'Connected to the stream' };
    case 'stale':
      return { tone: 'doubtful', word: 'Stale', why: 'Connected, but nothing came for two heartbeats' };
    case 'waiting': {
      const left = Math.max(0, state.retryAt - now);
      return { tone: 'bad', word: left < 1000 ? 'Reconnecting' : `Reconnecting in ${duration(left)}`, why: state.reason };
    }
    case 'ended':
      return { tone: 'bad', word: 'Disconnected', why: state.reason };
  }
}

interface ConnectionBadgeProps {
  readonly picture: Picture<ConnectionPicture>;
  readonly onReconnect: () => void;
}

export function ConnectionBadge({ picture, onReconnect }: ConnectionBadgeProps) {
  const { state, messagesPerSecond, gaps, unreadable, roundTripMs, problem } = usePicture(picture);
  const now = useNow(500);
  const { tone, word, why } = wordsOf(state, now);
  const offline = state.phase === 'waiting' || state.phase === 'ended';
  const figures = [
    `${gaps} sequence ${gaps === 1 ? 'gap' : 'gaps'}`,
    `${unreadable} unreadable messages`,
    ...(problem ? [problem] : []),
  ].join(' · ');
  return (
    <div className={`pill connection ${tone}`} title={`${why} · ${figures}`}>
      <Dot tone={tone} />
      <span role="status" className="word">
        {word}
      </span>
      {offline ? (
        <>
          <span className="why">{why}</span>
          <button type="button" className="quiet" onClick={onReconnect}>
            Connect now
          </button>
        </>
      ) : (
        <span className="figures">
          {count(messagesPerSecond)} msg/s
          {roundTripMs === null ? '' : ` · ${duration(roundTripMs)}`}
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
