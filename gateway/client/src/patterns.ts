/** Names with wildcards: `*` stands for any characters. */

const compiled = new Map<string, RegExp>();
const MOST_COMPILED = 4096;

function expression(pattern: string): RegExp {
  let found = compiled.get(pattern);
  if (!found) {
    if (compiled.size >= MOST_COMPILED) compiled.clear();
    const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    found = new RegExp(`^${parts.join('.*')}$`, 's');
    compiled.set(pattern, found);
  }
  return found;
}

export function matches(pattern: string, name: string): boolean {
  return pattern === name || (pattern.includes('*') && expression(pattern).test(name));
}

/** Whether some name is covered by both patterns. */
export function intersect(one: string, other: string): boolean {
  if (!one.includes('*')) return matches(other, one);
  if (!other.includes('*')) return matches(one, other);
  const onlyStars = (rest: string) => /^\**$/.test(rest);
  // Whether the rests of both from (i, j) have a common name, for all j of one row at a time.
  let below = Array.from({ length: other.length + 1 }, (_, j) => onlyStars(other.slice(j)));
  for (let i = one.length - 1; i >= 0; i -= 1) {
    const row = new Array<boolean>(other.length + 1).fill(false);
    row[other.length] = onlyStars(one.slice(i));
    for (let j = other.length - 1; j >= 0; j -= 1) {
      row[j] =
        one[i] === '*' || other[j] === '*'
          ? below[j] === true || row[j + 1] === true
          : one[i] === other[j] && below[j + 1] === true;
    }
    below = row;
  }
  return below[0] === true;
}
