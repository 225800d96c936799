// Load on the stream with k6 (https://k6.io, 1.0 or later): k6 run -e URL=http://127.0.0.1:8000 -e CLIENTS=500 tests/load/stream.k6.js
// Environment: URL, CLIENTS (100), FEEDS (8 instruments per client), CHANNEL (book), SECONDS (30), TOKEN.
// It fails if messages are old, if none come, or if the gateway refuses, closes or answers with an error.
// The same without k6: python -m tests.load URL.
import http from 'k6/http';
import { WebSocket } from 'k6/websockets';
import { Counter, Trend } from 'k6/metrics';

const url = (__ENV.URL || 'http://127.0.0.1:8000').replace(/\/+$/, '');
const clients = Number(__ENV.CLIENTS || 100);
const feeds = Number(__ENV.FEEDS || 8);
const channel = __ENV.CHANNEL || 'book';
const seconds = Number(__ENV.SECONDS || 30);
const headers = __ENV.TOKEN ? { Authorization: `Bearer ${__ENV.TOKEN}` } : {};

const updates = new Counter('stream_updates');
const faults = new Counter('stream_faults');
const age = new Trend('stream_message_age', true);

export const options = {
  scenarios: { clients: { executor: 'per-vu-iterations', vus: clients, iterations: 1, maxDuration: `${seconds + 30}s` } },
  thresholds: { stream_message_age: ['p(99)<1000'], stream_updates: ['count>0'], stream_faults: ['count==0'] },
};

export function setup() {
  const answer = http.get(`${url}/api/v1/instruments`, { headers });
  if (answer.status !== 200) throw new Error(`${url}/api/v1/instruments: ${answer.status} ${answer.body}`);
  const instruments = answer.json('instruments').map(({ venue, symbol }) => ({ venue, symbol }));
  if (instruments.length === 0) throw new Error(`${url} has no instruments yet`);
  return instruments;
}

export default function (instruments) {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws/v2`, null, { headers });
  let ending = false;
  const fault = (what) => {
    faults.add(1);
    console.error(`client ${__VU}: ${what}`);
  };
  socket.onopen = () => {
    for (let number = 0; number < Math.min(feeds, instruments.length); number += 1) {
      // Each client its own instruments, the same at every run.
      const { venue, symbol } = instruments[(__VU * feeds + number) % instruments.length];
      // Arbitrage is by symbol, alerts and status are by venue.
      const place = {};
      if (channel !== 'arbitrage') place.venue = venue;
      if (channel !== 'alerts' && channel !== 'status') place.symbol = symbol;
      socket.send(JSON.stringify({ op: 'subscribe', id: number, channel, ...place }));
    }
    setTimeout(() => {
      ending = true;
      socket.close();
    }, seconds * 1000);
  };
  socket.onerror = (event) => fault(event.error);
  socket.onclose = (event) => {
    if (!ending) fault(`closed by the gateway: ${event.code} ${event.reason}`);
  };
  socket.onmessage = ({ data }) => {
    const now = Date.now();
    for (const line of data.split('\n')) {
      const { type, time, code, message } = JSON.parse(line);
      if (type === 'error') fault(`${code}: ${message}`);
      else if (type !== 'hello' && type !== 'subscribed' && type !== 'heartbeat') updates.add(1);
      if (type === 'delta' || type === 'bbo') age.add(now - time / 1000);
    }
  };
}
