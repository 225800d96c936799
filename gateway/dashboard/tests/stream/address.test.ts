// @vitest-environment node
import { expect, it } from 'vitest';

import { streamUrl } from '../../src/stream/address.ts';

it('finds the stream beside the page, also below a prefix', () => {
  expect(streamUrl(new URL('http://localhost:8000/#kraken/BTC-USD'))).toBe('ws://localhost:8000/ws/v2');
  expect(streamUrl(new URL('https://desk.example/pulse/?a=1'))).toBe('wss://desk.example/pulse/ws/v2');
});
