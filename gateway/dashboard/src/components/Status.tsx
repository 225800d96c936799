import type { Tone } from '../view/words.ts';

/** A coloured dot that says nothing without the word beside it. */
export function Dot({ tone }: { readonly tone: Tone }) {
  return <span className={`dot ${tone}`} aria-hidden="true" />;
}
