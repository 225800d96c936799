/** Checked access to the fields of decoded messages, so that the rest of the program can trust its types. */
import { formatDecimal, parseDecimal, type Decimal } from './decimal.ts';
import { ProtocolError } from './errors.ts';

export type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner)).slice(0, 80);
}

export function asFields(value: unknown, what: string): Fields {
  if (isFields(value)) return value;
  throw new ProtocolError(`${what}: expected an object, got ${shown(value)}`);
}

export function asList(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new ProtocolError(`${what}: expected a list, got ${shown(value)}`);
}

export function text(from: Fields, name: string): string {
  const value = from[name];
  if (typeof value === 'string') return value;
  throw new ProtocolError(`${name}: expected text, got ${shown(value)}`);
}

export function textOrNull(from: Fields, name: string): string | null {
  return from[name] === undefined || from[name] === null ? null : text(from, name);
}

/** A number; MessagePack's 64-bit integers are exact up to 2^53. */
export function number(from: Fields, name: string): number {
  const value = from[name];
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint' && Number.isSafeInteger(Number(value))) return Number(value);
  throw new ProtocolError(`${name}: expected a number, got ${shown(value)}`);
}

export function numberOrNull(from: Fields, name: string): number | null {
  return from[name] === undefined || from[name] === null ? null : number(from, name);
}

export function boolean(from: Fields, name: string): boolean {
  const value = from[name];
  if (typeof value === 'boolean') return value;
  throw new ProtocolError(`${name}: expected true or false, got ${shown(value)}`);
}

/** Exact decimal text, with its value. */
export function decimal(value: unknown, name: string): readonly [text: string, value: Decimal] {
  const parsed = typeof value === 'string' ? parseDecimal(value) : null;
  if (typeof value === 'string' && parsed) return [value, parsed];
  throw new ProtocolError(`${name}: expected decimal text, got ${shown(value)}`);
}

/** A mantissa × 10^exponent as the text that JSON would have, without trailing zeros, and its value. */
export function scaled(value: unknown, exponent: number, name: string): readonly [text: string, value: Decimal] {
  let mantissa: bigint;
  if (typeof value === 'bigint') mantissa = value;
  else if (typeof value === 'number' && Number.isSafeInteger(value)) mantissa = BigInt(value);
  else throw new ProtocolError(`${name}: expected an integer, got ${shown(value)}`);
  let scale = -exponent;
  if (scale < 0) {
    mantissa *= 10n ** BigInt(-scale);
    scale = 0;
  }
  while (scale > 0 && mantissa % 10n === 0n) {
    mantissa /= 10n;
    scale -= 1;
  }
  const exact = { mantissa, scale };
  return [formatDecimal(exact), exact];
}
