import { encode as pack } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';

import { checksum, crc32 } from '../src/checksum.ts';
import { read } from '../src/messages.ts';
import { msgpack } from '../src/msgpack.ts';
import { decode, json } from '../src/wire.ts';
import { KRAKEN, level } from './gateway.ts';

const OPPORTUNITY = {
  opportunity_id: 'a',
  state: 'opened',
  symbol: 'BTC-USD',
  buy_venue: 'kraken',
  sell_venue: 'okx',
  buy_price: '1',
  sell_price: '2',
  buy_limit_price: '1',
  sell_limit_price: '2',
  size: '3',
  gross_profit: '3',
  net_profit: '2',
  net_basis_points: 2.5,
  opened_time: 1,
  updated_time: 2,
  close_reason: null,
};
const NUMBERS = { epoch: '1', sequence: 2, time: 3 };

describe('messages', () => {
  it('has exact levels from mantissas of 64 bits', () => {
    const fields = { type: 'bbo', channel: 'bbo', ...KRAKEN, ...NUMBERS, valid: true, reason: null };
    const best = { price_exponent: -2, size_exponent: 1, bid: [9007199254740993n, 5], ask: null };
    const [decoded] = decode(Uint8Array.from(pack({ ...fields, ...best }, { useBigInt64: true })).buffer, msgpack);
    const message = decoded && read(decoded);
    expect(message).toMatchObject({ bid: { price: '90071992547409.93', size: '50' }, ask: null, time: 3 });
  });

  it('writes mantissas without trailing zeros, as JSON has them', () => {
    const fields = { type: 'snapshot', channel: 'l2', ...KRAKEN, ...NUMBERS, valid: true, reason: null, checksum: 7 };
    const levels = { price_exponent: -3, size_exponent: -2, bids: [61686000, 100], asks: [5, 0] };
    expect(read({ ...fields, ...levels })).toMatchObject({
      bids: [{ price: '61686', size: '1' }],
      asks: [{ price: '0.005', size: '0' }],
      checksum: 7,
    });
  });

  it('reads each channel', () => {
    const of = (type: string, channel: string, fields: object) => read({ type, channel, ...KRAKEN, ...fields });
    expect(of('opportunity', 'arbitrage', OPPORTUNITY)).toMatchObject({ opportunity: { id: 'a', netBasisPoints: 2.5 } });
    expect(of('snapshot', 'arbitrage', { opportunities: [OPPORTUNITY] })).toMatchObject({ opportunities: [{ id: 'a' }] });
    const alert = { time: 1, service: 's', kind: 'gap', severity: 'warning', detail: 'd' };
    expect(of('alert', 'alerts', alert)).toMatchObject({ venue: 'kraken', symbol: null, alert: { symbol: 'BTC-USD' } });
    expect(of('snapshot', 'alerts', { alerts: [alert] })).toMatchObject({ alerts: [{ venue: null }], gap: false });
    expect(of('status', 'status', { status: 'late', time: 1, book_age_ms: 4 })).toMatchObject({ bookAgeMs: 4, service: null });
    const prices = { open: '1', high: '1', low: '1', close: '1', volume: '1', quote_volume: '1', vwap: '1' };
    const candle = { interval: 60, open_time: 1, ...prices, trades: 1, revision: 0, partial: false };
    expect(of('candle', 'candles', candle)).toMatchObject({ interval: 60, quoteVolume: '1' });
  });

  it.each([
    [{ bids: [['1']] }, 'bids size: expected decimal text, got nothing'],
    [{ bids: [['1e5', '1']] }, 'bids price: expected decimal text, got "1e5"'],
    [{ bids: 5 }, 'bids: expected a list, got 5'],
    [{ valid: 'yes' }, 'valid: expected true or false, got "yes"'],
    [{ sequence: 2n ** 60n }, 'sequence: expected a number, got "1152921504606846976"'],
    [{ price_exponent: 0, size_exponent: 0, bids: [1] }, 'bids: 1 integers, expected pairs'],
    [{ price_exponent: 0, size_exponent: 0, bids: ['1', 1] }, 'bids price: expected an integer, got "1"'],
  ])('names the field that is wrong: %#', (wrong, problem) => {
    const fields = { type: 'snapshot', channel: 'book', ...KRAKEN, ...NUMBERS, valid: true, reason: null, bids: [], asks: [] };
    expect(() => read({ ...fields, ...wrong })).toThrow(problem);
  });
});

describe('encodings', () => {
  it('refuses data of the other', () => {
    expect(() => decode('{}', msgpack)).toThrow('a text WebSocket message');
    expect(() => decode(new ArrayBuffer(1), json)).toThrow('a binary WebSocket message');
    expect(() => decode(Uint8Array.of(0xc1).buffer, msgpack)).toThrow('not alphapulse.v2.msgpack');
    expect(() => decode('{', json)).toThrow('not alphapulse.v2.json');
  });

  it('takes several messages at once', () => {
    const messages = [{ type: 'a' }, { type: 'b', n: 2 ** 40 }];
    expect(decode(messages.map((each) => JSON.stringify(each)).join('\n'), json)).toEqual(messages);
    const packed = Uint8Array.from(messages.flatMap((each) => [...pack(each)]));
    expect(decode(packed.buffer, msgpack).map(({ type }) => type)).toEqual(['a', 'b']);
  });
});

describe('the checksum', () => {
  it('is the CRC-32 of zlib', () => {
    expect(crc32('123456789')).toBe(0xcbf43926);
  });

  it('is of the best ten levels a side', () => {
    const bids = Array.from({ length: 12 }, (_, n) => level(String(100 - n), '1.5'));
    const text = `${bids.slice(0, 10).map(({ price }) => `${price}:1.5,`).join('')}|101:2,`;
    expect(checksum(bids, [level('101', '2')])).toBe(crc32(text));
    expect(checksum([], [])).toBe(crc32('|'));
  });
});
