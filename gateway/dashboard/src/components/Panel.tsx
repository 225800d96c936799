import type { ReactNode } from 'react';

interface PanelProps {
  readonly title: string;
  /** Names the grid area and the CSS class. */
  readonly area: string;
  readonly aside?: ReactNode;
  readonly children: ReactNode;
}

export function Panel({ title, area, aside, children }: PanelProps) {
  return (
    <section className={`panel ${area}`} aria-label={title}>
      <header className="panel-head">
        <h2>{title}</h2>
        {aside === undefined ? null : <div className="panel-aside">{aside}</div>}
      </header>
      {children}
    </section>
  );
}
