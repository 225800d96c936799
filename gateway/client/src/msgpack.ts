/** The MessagePack encoding: `new Client(url, { encoding: msgpack })`. */
import { decodeMulti, encode } from '@msgpack/msgpack';

import { ProtocolError } from './errors.ts';
import type { Encoding } from './wire.ts';

export const msgpack: Encoding = {
  subprotocol: 'alphapulse.v2.msgpack',
  encode: (message) => encode(message),
  decode(data) {
    if (typeof data === 'string') throw new ProtocolError('a text WebSocket message; the encoding is MessagePack');
    // Mantissas need all their 64 bits; what is smaller comes as a number all the same.
    return decodeMulti(new Uint8Array(data), { useBigInt64: true });
  },
};
