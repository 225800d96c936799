/** The stream's checksum of a book. */
import type { Level } from './messages.ts';

export const CHECKSUM_LEVELS = 10;

/** CRC-32 (IEEE, reflected: polynomial 0xedb88320), one byte at a time. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

/** Of ASCII text, as an unsigned 32-bit integer. */
export function crc32(ascii: string): number {
  let crc = 0xffffffff;
  for (let at = 0; at < ascii.length; at += 1) {
    crc = (TABLE[(crc ^ ascii.charCodeAt(at)) & 0xff] ?? 0) ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Of the best ten levels a side, best first. */
export function checksum(bids: readonly Level[], asks: readonly Level[]): number {
  const side = (levels: readonly Level[]) =>
    levels
      .slice(0, CHECKSUM_LEVELS)
      .map(({ price, size }) => `${price}:${size},`)
      .join('');
  return crc32(`${side(bids)}|${side(asks)}`);
}
