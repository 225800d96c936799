/** Immutable pictures of changing state, for React. */
import { useSyncExternalStore } from 'react';

/** The latest picture of something: what a component looks at. */
export interface Picture<T> {
  readonly read: () => T;
  /** Calls the listener after each refresh; returns how to stop that. */
  readonly subscribe: (listener: () => void) => () => void;
}

export class LivePicture<T> implements Picture<T> {
  readonly #make: (before: T | undefined) => T;
  readonly #listeners = new Set<() => void>();
  #current: T;

  /** `make` gets the picture until now. */
  constructor(make: (before: T | undefined) => T) {
    this.#make = make;
    this.#current = make(undefined);
  }

  readonly read = (): T => this.#current;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  refresh(): void {
    this.#current = this.#make(this.#current);
    for (const listener of this.#listeners) listener();
  }
}

/** Renders the component again whenever the picture is refreshed. */
export function usePicture<T>(picture: Picture<T>): T {
  return useSyncExternalStore(picture.subscribe, picture.read);
}

/** Pictures of one kind, by topic. */
export class Shelf<T> {
  readonly #pictures = new Map<string, LivePicture<T>>();

  /** The topic's picture, made at the first call. */
  at(topic: string, make: (before: T | undefined) => T): LivePicture<T> {
    let picture = this.#pictures.get(topic);
    if (!picture) {
      picture = new LivePicture(make);
      this.#pictures.set(topic, picture);
    }
    return picture;
  }

  refresh(changed: ReadonlySet<string>): void {
    for (const [topic, picture] of this.#pictures) {
      if (changed.has(topic)) picture.refresh();
    }
  }

  /** Drops the pictures of all other topics. */
  keep(topics: ReadonlySet<string>): void {
    for (const topic of this.#pictures.keys()) {
      if (!topics.has(topic)) this.#pictures.delete(topic);
    }
  }
}
