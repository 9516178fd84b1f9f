/** An event, as the envelope of the stream has it. */
export interface CarillonEvent<Data = any> {
  /** The name that the publisher gave it. It says nothing about order. */
  id?: string;
  /** Those of its topics that this page subscribes to. */
  topics: string[];
  type: string | null;
  /** ISO 8601, in UTC. */
  time?: string;
  data: Data;
  /** Its position in the log. */
  cursor?: string;
}

export type Status = "connecting" | "live" | "reconnecting" | "refused" | "closed";

export interface StatusEvent extends CarillonEvent<{ status: Status; reason: string }> {
  type: "stream.status";
}

export interface Options {
  /** What to subscribe to, besides the `topic` parameters of the URL. */
  topics?: Iterable<string>;
  /** A cursor, or `10m`, `last:20`, `all`. Empty: the page got no cursor, and fetches its state. */
  since?: string;
  /** The digest of the user, if it is not in the URL. Without it, tabs share nothing. */
  user?: string;
  /** Whether tabs share one connection: by default yes. */
  share?: boolean;
  /** Milliseconds without a byte after which the stream counts as lost: by default 60,000. */
  silence?: number;
  credentials?: RequestCredentials;
}

/** A state may say at which cursor it was taken, in a field or in the header `Carillon-Cursor`. */
export type State = void | Response | { cursor?: string; [field: string]: unknown };

export interface Live {
  readonly status: Status;
  /** Why, in words. */
  readonly reason: string;
  /** The position up to which this page has everything. */
  readonly cursor: string;
  on(name: "stream.status", handler: (event: StatusEvent) => void): () => void;
  /** By type, or by a pattern of topics. Returns a function that ends it. */
  on<Data = any>(name: string, handler: (event: CarillonEvent<Data>) => void): () => void;
  /** By both. */
  on<Data = any>(type: string, topics: string, handler: (event: CarillonEvent<Data>) => void): () => void;
  snapshot(source: () => State | Promise<State>, options?: { first?: boolean }): this;
  snapshot(url: string | URL, show: (state: any) => void, options?: { first?: boolean }): this;
  /** Fetches the state anew, as after a reset. */
  refresh(): void;
  topics(add?: string | string[], remove?: string | string[]): string[];
  close(): void;
}

export function carillon(url: string | URL, options?: Options): Live;

/** An `EventSource` that resumes by its cursor after any end and any temporary status. */
export type ResumingEventSource = EventSource;
export const ResumingEventSource: {
  new (url: string | URL, options?: EventSourceInit & { silence?: number }): ResumingEventSource;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
};

/** The text of an error response: the `detail` of RFC 9457, or else its status. */
export function problemDetail(response: Response): Promise<string>;
