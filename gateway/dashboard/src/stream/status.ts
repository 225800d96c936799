/** What the page says of a book. */
import type { Book } from '@alphapulse/client';

/**
 * awaiting: nothing yet, a message is missing, or no connection. valid: in step with the gateway, and young. stale: nobody
 * has confirmed it for too long. invalid: the gateway itself has no valid book. Only the levels of a valid book are
 * current; those of an awaiting or stale one are the last known.
 */
export type BookStatus = 'awaiting' | 'valid' | 'stale' | 'invalid';

export function statusOf({ reason }: Book): BookStatus {
  switch (reason) {
    case null:
      return 'valid';
    case 'stale':
      return 'stale';
    case 'no_book':
    case 'invalid':
      return 'invalid';
    default:
      return 'awaiting';
  }
}
