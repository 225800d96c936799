// @vitest-environment node
import { expect, it } from 'vitest';

import { isLoopback, streamUrl } from '../../src/stream/address.ts';

it('finds the stream beside the page, also below a prefix', () => {
  expect(streamUrl(new URL('http://localhost:8000/#kraken/BTC-USD'))).toBe('ws://localhost:8000/ws/v1');
  expect(streamUrl(new URL('https://desk.example/pulse/?a=1'))).toBe('wss://desk.example/pulse/ws/v1');
});

it('knows its own machine', () => {
  expect(['localhost', '127.0.0.1', '[::1]', 'a.localhost'].map(isLoopback)).toEqual([true, true, true, true]);
  expect(['desk.example', '10.0.0.7', 'localhost.example'].map(isLoopback)).toEqual([false, false, false]);
});
