/** Errors of the client: all are `ClientError`s. */

export class ClientError extends Error {
  override readonly name: string = 'ClientError';
}

/** The gateway sent what version 2 of the protocol does not allow. */
export class ProtocolError extends ClientError {
  override readonly name = 'ProtocolError';
}

/** The gateway refused an operation; `code` is for programs (`unknown_instrument`, `forbidden`, …). */
export class OperationRefused extends ClientError {
  override readonly name = 'OperationRefused';
  readonly code: string;
  /** The gateway's words. */
  readonly reason: string;

  constructor(code: string, reason: string) {
    super(`${code}: ${reason}`);
    this.code = code;
    this.reason = reason;
  }
}

/** Two subscriptions would share a feed, and a feed of a connection has one set of options. */
export class SubscriptionOverlap extends ClientError {
  override readonly name = 'SubscriptionOverlap';
}

/** The connection was lost before the answer, or could not be made in time. */
export class Disconnected extends ClientError {
  override readonly name = 'Disconnected';
}

/** The gateway said not to come back; `code` is its WebSocket close code. */
export class ConnectionRefused extends ClientError {
  override readonly name: string = 'ConnectionRefused';
  readonly code: number;

  constructor(code: number, reason: string) {
    super(`connection refused for good (${code}): ${reason}`);
    this.code = code;
  }
}

/** Credentials are missing, wrong, expired or revoked (close codes 3000 and 3003). */
export class CredentialsRefused extends ConnectionRefused {
  override readonly name = 'CredentialsRefused';
}

/** The client or the subscription was closed. */
export class ClientClosed extends ClientError {
  override readonly name = 'ClientClosed';
}
