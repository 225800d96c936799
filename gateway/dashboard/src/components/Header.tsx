import type { ReactNode } from 'react';

import { useNow } from '../view/ticking.ts';
import { clock } from '../view/words.ts';

export function Header({ children }: { readonly children: ReactNode }) {
  const now = useNow(1000);
  return (
    <header className="top">
      <h1 className="brand">
        <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
          <path d="M2 18h7l3-10 5 17 4-11 2 4h7" />
        </svg>
        Alpha<b>Pulse</b>
      </h1>
      {children}
      <time className="now" dateTime={new Date(now).toISOString()} title="Local time">
        {clock(now * 1000)}
      </time>
    </header>
  );
}
