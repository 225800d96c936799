// Load on the stream with k6 (https://k6.io): k6 run -e URL=http://127.0.0.1:8000 -e CLIENTS=500 tests/load/stream.k6.js
// Environment: URL, CLIENTS (100), FEEDS (8 instruments per client), CHANNEL (book), SECONDS (30), TOKEN.
// The same without k6: python -m tests.load URL.
import http from 'k6/http';
import { WebSocket } from 'k6/websockets';
import { Counter, Trend } from 'k6/metrics';

const url = __ENV.URL || 'http://127.0.0.1:8000';
const clients = Number(__ENV.CLIENTS || 100);
const feeds = Number(__ENV.FEEDS || 8);
const channel = __ENV.CHANNEL || 'book';
const seconds = Number(__ENV.SECONDS || 30);
const headers = __ENV.TOKEN ? { Authorization: `Bearer ${__ENV.TOKEN}` } : {};

const messages = new Counter('stream_messages');
const age = new Trend('stream_message_age', true);

export const options = {
  scenarios: { clients: { executor: 'per-vu-iterations', vus: clients, iterations: 1, maxDuration: `${seconds + 30}s` } },
  thresholds: { stream_message_age: ['p(99)<1000'] },
};

export function setup() {
  const answer = http.get(`${url}/api/v1/instruments`, { headers });
  if (answer.status !== 200) throw new Error(`${url}/api/v1/instruments: ${answer.status} ${answer.body}`);
  return answer.json('instruments').map(({ venue, symbol }) => ({ venue, symbol }));
}

export default function (instruments) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws/v2`, null, { headers });
  socket.onopen = () => {
    for (let number = 0; number < feeds; number += 1) {
      // Each client its own instruments, the same at every run.
      const { venue, symbol } = instruments[(__VU * 7 + number * 13) % instruments.length];
      socket.send(JSON.stringify({ op: 'subscribe', id: number, channel, venue, symbol }));
    }
    setTimeout(() => socket.close(), seconds * 1000);
  };
  socket.onmessage = ({ data }) => {
    const now = Date.now();
    for (const line of data.split('\n')) {
      messages.add(1);
      const { type, time } = JSON.parse(line);
      if (type === 'delta' || type === 'bbo') age.add(now - time / 1000);
    }
  };
}
