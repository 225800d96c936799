/**
 * The token or API key that the user has entered, where the gateway requires one.
 *
 * It is kept in this tab's session storage, so that a reload does not ask again and another tab does; never in a URL, a
 * cookie or `localStorage`.
 */

const KEY = 'alphapulse.token';

function stored(): string {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    // Storage is switched off: then it is kept in memory only.
    return '';
  }
}

let token = stored();

/** The token; empty if none was entered. */
export function currentToken(): string {
  return token;
}

/** Takes another token; an empty one forgets it. */
export function enterToken(entered: string): void {
  token = entered.trim();
  try {
    if (token === '') sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // As above.
  }
}

/** The token for the stream, which asks only if the gateway requires one. Throws where none was entered. */
export function streamToken(): string {
  if (token === '') throw new Error('none was entered');
  return token;
}
