/** Client of AlphaPulse's live stream, protocol version 2. MessagePack: `@alphapulse/client/msgpack`. */
export { Book, type BookClock, type BookReason, type Outcome } from './book.ts';
export { checksum, crc32 } from './checksum.ts';
export {
  Client,
  socketsOf,
  Subscription,
  type ClientOptions,
  type ConnectionState,
  type Listener,
  type OpenSocket,
  type Selection,
  type Socket,
  type SocketEvents,
} from './client.ts';
export { GatewayClock } from './clock.ts';
export * from './decimal.ts';
export * from './errors.ts';
export { asFields, asList, number, text, textOrNull, numberOrNull, type Fields } from './fields.ts';
export {
  opportunity,
  read,
  type Alert,
  type AlertFields,
  type AlertsSnapshot,
  type Bbo,
  type BookDelta,
  type BookFault,
  type BookSnapshot,
  type Candle,
  type Channel,
  type FeedMessage,
  type FeedName,
  type Gap,
  type GapReason,
  type GatewayMessage,
  type Level,
  type OpportunitiesSnapshot,
  type Opportunity,
  type OpportunityFields,
  type OpportunityState,
  type Side,
  type Stats,
  type Status,
  type Trade,
  type Trades,
  type TradesSnapshot,
} from './messages.ts';
export { CODES, isLoopback, Reconnecting, refusalOf, type End } from './reconnecting.ts';
export { Session, type Counters, type Event } from './session.ts';
export { Request, type Position, type SubscribeOptions } from './subscriptions.ts';
export { decode, json, type Data, type Encoding } from './wire.ts';
