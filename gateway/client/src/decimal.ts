/**
 * Exact arithmetic on decimal text.
 *
 * The gateway sends every price and size as plain decimal text; a float would change what is shown. A `Decimal` is
 * mantissa × 10^-scale with a BigInt mantissa: comparing, adding and halving stay exact. Only `toRatio` leaves that
 * world, for widths of bars and positions on the chart.
 */
export interface Decimal {
  readonly mantissa: bigint;
  /** Number of decimals, ≥ 0. */
  readonly scale: number;
}

export const ZERO: Decimal = { mantissa: 0n, scale: 0 };

const PLAIN = /^-?\d+(?:\.\d+)?$/;
const POWERS: bigint[] = Array.from({ length: 40 }, (_, n) => 10n ** BigInt(n));

function power(n: number): bigint {
  return POWERS[n] ?? 10n ** BigInt(n);
}

/** Reads plain decimal text ("61685.99", "-0.5"); null for anything else (exponents, blanks, NaN). */
export function parseDecimal(text: string): Decimal | null {
  if (!PLAIN.test(text)) return null;
  const dot = text.indexOf('.');
  if (dot < 0) return { mantissa: BigInt(text), scale: 0 };
  return { mantissa: BigInt(text.slice(0, dot) + text.slice(dot + 1)), scale: text.length - dot - 1 };
}

/** The mantissa of `value` at `scale`, which must not be smaller than its own. */
function mantissaAt(value: Decimal, scale: number): bigint {
  return value.scale === scale ? value.mantissa : value.mantissa * power(scale - value.scale);
}

/** Both mantissas at their common scale. */
function aligned(a: Decimal, b: Decimal): readonly [bigint, bigint, number] {
  const scale = Math.max(a.scale, b.scale);
  return [mantissaAt(a, scale), mantissaAt(b, scale), scale];
}

export function compare(a: Decimal, b: Decimal): -1 | 0 | 1 {
  const [x, y] = aligned(a, b);
  return x < y ? -1 : x > y ? 1 : 0;
}

export function add(a: Decimal, b: Decimal): Decimal {
  const [x, y, scale] = aligned(a, b);
  return { mantissa: x + y, scale };
}

export function subtract(a: Decimal, b: Decimal): Decimal {
  const [x, y, scale] = aligned(a, b);
  return { mantissa: x - y, scale };
}

/** (a + b) / 2, exact: one decimal more than the operands. */
export function midpoint(a: Decimal, b: Decimal): Decimal {
  const sum = add(a, b);
  return { mantissa: sum.mantissa * 5n, scale: sum.scale + 1 };
}

/** The point `numerator/denominator` of the way from a to b, rounded down at `scale`. */
export function between(a: Decimal, b: Decimal, numerator: number, denominator: number, scale: number): Decimal {
  const wide = Math.max(a.scale, b.scale, scale);
  const x = mantissaAt(a, wide);
  const y = mantissaAt(b, wide);
  const point = x + ((y - x) * BigInt(numerator)) / BigInt(denominator);
  return { mantissa: point / power(wide - scale), scale };
}

/** Rounded to at most `decimals` decimals, half away from zero. */
export function rounded(value: Decimal, decimals: number): Decimal {
  if (value.scale <= decimals) return value;
  const unit = power(value.scale - decimals);
  const half = value.mantissa < 0n ? -unit / 2n : unit / 2n;
  return { mantissa: (value.mantissa + half) / unit, scale: decimals };
}

/** part / whole in basis points as text with two decimals, rounded half away from zero; null when whole is not positive. */
export function basisPoints(part: Decimal, whole: Decimal): string | null {
  const [x, y] = aligned(part, whole);
  if (y <= 0n) return null;
  const hundredths = x * 1_000_000n;
  const half = hundredths < 0n ? -y : y;
  return formatDecimal({ mantissa: (2n * hundredths + half) / (2n * y), scale: 2 });
}

/** part / whole as a number, for geometry only (bar widths, chart positions); 0 when whole is 0. */
export function toRatio(part: Decimal, whole: Decimal): number {
  const [x, y] = aligned(part, whole);
  return y === 0n ? 0 : Number(x) / Number(y);
}

export function isZero(value: Decimal): boolean {
  return value.mantissa === 0n;
}

export function formatDecimal(value: Decimal): string {
  const negative = value.mantissa < 0n;
  const digits = (negative ? -value.mantissa : value.mantissa).toString().padStart(value.scale + 1, '0');
  const whole = digits.slice(0, digits.length - value.scale);
  const text = value.scale === 0 ? whole : `${whole}.${digits.slice(digits.length - value.scale)}`;
  return negative ? `-${text}` : text;
}

/** How many decimals the text has. */
export function decimalsOf(text: string): number {
  const dot = text.indexOf('.');
  return dot < 0 ? 0 : text.length - dot - 1;
}

/** How many decimals the text has once trailing zeros are left away. */
export function significantDecimals(text: string): number {
  const dot = text.indexOf('.');
  if (dot < 0) return 0;
  let end = text.length;
  while (end > dot + 1 && text[end - 1] === '0') end -= 1;
  return end - dot - 1;
}

/** Cuts trailing zeros or appends zeros until there are `decimals` of them; digits that count are never cut. */
export function withDecimals(text: string, decimals: number): string {
  const have = decimalsOf(text);
  if (have === decimals) return text;
  if (have < decimals) return `${have === 0 ? `${text}.` : text}${'0'.repeat(decimals - have)}`;
  const keep = Math.max(decimals, significantDecimals(text));
  return text.slice(0, text.length - have + keep - (keep === 0 ? 1 : 0));
}

/** Groups the integer digits by thousands: "1234567.5" becomes "1,234,567.5". */
export function grouped(text: string): string {
  const dot = text.indexOf('.');
  const whole = dot < 0 ? text : text.slice(0, dot);
  const rest = dot < 0 ? '' : text.slice(dot);
  return whole.replace(/\B(?=(?:\d{3})+$)/g, ',') + rest;
}
