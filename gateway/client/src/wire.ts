/** Encodings of the stream, by their WebSocket subprotocol. MessagePack is in msgpack.ts, to be imported by whoever uses it. */
import { ProtocolError } from './errors.ts';
import { asFields, text, type Fields } from './fields.ts';

/** What a WebSocket carries. */
export type Data = string | ArrayBuffer;

export interface Encoding {
  readonly subprotocol: string;
  encode(message: Fields): string | Uint8Array<ArrayBuffer>;
  /** The values in one WebSocket message, in order. Throws on what is not of this encoding. */
  decode(data: Data): Iterable<unknown>;
}

export const json: Encoding = {
  subprotocol: 'alphapulse.v2.json',
  encode: (message) => JSON.stringify(message),
  decode(data) {
    if (typeof data !== 'string') throw new ProtocolError('a binary WebSocket message; the encoding is JSON');
    return data
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as unknown);
  },
};

/** The messages in one WebSocket message; each has a type. Throws ProtocolError. */
export function decode(data: Data, encoding: Encoding): Fields[] {
  let values: unknown[];
  try {
    values = [...encoding.decode(data)];
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError(`not ${encoding.subprotocol}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return values.map((value) => {
    const fields = asFields(value, 'message');
    text(fields, 'type');
    return fields;
  });
}
