/** Calls over HTTP: one request, its retries, its pages, and its streams. */

import { ConnectionFailed, errorIn, ServiceError, TimedOut } from "./errors.js";

export const LINES = "application/x-ndjson";
const DEFAULT_URL = "http://127.0.0.1:8080";
const KEY = /^[!-~]{1,512}$/;
const RESPONSE_CHARS_MAX = 32 * 1_048_576;
const JITTER_SHARE = 0.25;
const RETRIED_STATUSES = new Set([429, 503]);
/** Failures after which it is not known whether the service did the work. */
const LOST = new Set(["unreachable", "no_answer", "connection_lost"]);

/** How long a failed call is retried, and how long to wait where the service does not say. */
export interface RetryPolicy {
  retryForMs: number;
  backoffMs: number;
  backoffMsMax: number;
  attemptsMax: number;
}

const RETRY: RetryPolicy = {
  retryForMs: 60_000,
  backoffMs: 250,
  backoffMsMax: 8_000,
  attemptsMax: 10,
};

export interface ClientOptions {
  /** Default: `ASSAY_URL` where there is an environment, else a service on this machine. */
  url?: string;
  /** Default: `ASSAY_API_KEY` where there is an environment; "" is none. */
  apiKey?: string;
  /** The longest silence of the service while a response is awaited. Default: 60 seconds. */
  timeoutMs?: number;
  retry?: Partial<RetryPolicy>;
  /** What sends requests. Default: the global `fetch`. */
  fetch?: typeof fetch;
}

/** How one call may end early. */
export interface CallOptions {
  /** Ends the call, its retries and its pauses; the call throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** In place of the client's. */
  timeoutMs?: number | undefined;
}

interface Call extends CallOptions {
  query?: object | undefined;
  json?: object;
  lines?: string;
  accept?: string;
  /** The route takes an `Idempotency-Key`: a repeated call is not paid for twice. */
  keyed?: boolean;
  /** Whether the call may be sent again although it may have arrived. */
  repeatable?: boolean;
}

/** The way to a service, and how a failed call is retried. */
export class Connection {
  readonly url: string;
  readonly retry: RetryPolicy;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;
  /** Private, so that neither `console.log` nor `JSON.stringify` shows it. */
  readonly #apiKey: string;

  constructor(options: ClientOptions = {}) {
    this.url = checkedUrl(options.url || environment("ASSAY_URL") || DEFAULT_URL);
    this.#apiKey = (options.apiKey ?? environment("ASSAY_API_KEY") ?? "").trim();
    if (this.#apiKey && !KEY.test(this.#apiKey)) {
      throw new TypeError("an API key has 1 to 512 ASCII characters and no spaces");
    }
    this.#timeoutMs = options.timeoutMs ?? 60_000;
    this.retry = { ...RETRY, ...options.retry };
    this.#fetch = options.fetch ?? ((...sent) => fetch(...sent));
  }

  /** The JSON of a response; throws `ServiceError`. */
  async send<T>(method: string, path: string, call: Call = {}): Promise<T> {
    const init = this.#init(method, call);
    const repeatable = call.repeatable ?? (method !== "POST" || "Idempotency-Key" in init.headers);
    const startedMs = Date.now();
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.#receive<T>(path, init, call);
      } catch (error) {
        const waitMs = this.waitMs(error, failures, repeatable);
        const spentMs = Date.now() - startedMs;
        if (waitMs === undefined || spentMs + waitMs > this.retry.retryForMs) throw error;
        await sleep(waitMs, call.signal);
      }
    }
  }

  /** Time until the next attempt, with jitter; undefined if another one would not help. */
  waitMs(error: unknown, failures: number, repeatable: boolean): number | undefined {
    if (!(error instanceof ServiceError) || failures + 1 >= this.retry.attemptsMax) return undefined;
    const lost = LOST.has(error.code) && repeatable;
    if (!RETRIED_STATUSES.has(error.status) && !lost) return undefined;
    const backoffMs = Math.min(this.retry.backoffMs * 2 ** failures, this.retry.backoffMsMax);
    return (error.retryAfterMs ?? backoffMs) * (1 + JITTER_SHARE * Math.random());
  }

  /** The complete lines of a response, as they arrive; throws `ServiceError`. */
  async *lines(path: string, call: Call): AsyncGenerator<string> {
    let rest = "";
    for await (const chunk of this.#chunks(path, this.#init("GET", call), call)) {
      const lines = (rest + chunk).split("\n");
      rest = limited(lines.pop() ?? "");
      yield* lines;
    }
  }

  /** All entries of a list, page by page. */
  async *pages<T>(path: string, query: object = {}, options: CallOptions = {}): AsyncGenerator<T> {
    let cursor: string | null = null;
    do {
      const page: { data: T[]; next_cursor: string | null } = await this.send("GET", path, {
        ...options,
        query: { ...query, ...(cursor === null ? {} : { cursor }) },
      });
      yield* page.data;
      cursor = page.next_cursor;
    } while (cursor !== null);
  }

  #init(method: string, call: Call): RequestInit & { headers: Record<string, string> } {
    const headers: Record<string, string> = { Accept: call.accept ?? "application/json" };
    if (this.#apiKey) headers.Authorization = `Bearer ${this.#apiKey}`;
    // With `store: false` the service takes no key, because it would keep the response.
    const kept = (call.json as { store?: boolean } | undefined)?.store !== false;
    if (call.keyed && kept) headers["Idempotency-Key"] = randomKey();
    // A redirect would carry the key and the caller's texts to another host.
    const init = { method, headers, redirect: "manual" as const };
    if (call.lines !== undefined) {
      headers["Content-Type"] = LINES;
      return { ...init, body: call.lines };
    }
    if (call.json === undefined) return init;
    headers["Content-Type"] = "application/json";
    return { ...init, body: JSON.stringify(call.json) };
  }

  async #receive<T>(path: string, init: RequestInit, call: Call): Promise<T> {
    let text = "";
    for await (const chunk of this.#chunks(path, init, call)) text = limited(text + chunk);
    if (init.method === "DELETE") return undefined as T; // there is nothing to say
    return parsed<T>(text);
  }

  async *#chunks(path: string, init: RequestInit, call: Call): AsyncGenerator<string> {
    const idle = new IdleTimeout(call.timeoutMs ?? this.#timeoutMs, call.signal);
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    try {
      const url = this.url + path + queryText(call.query);
      const response = await this.#fetch(url, { ...init, signal: idle.signal });
      if (!response.ok) throw await this.#errorIn(response);
      reader = response.body?.getReader();
      const decoder = new TextDecoder();
      for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
        idle.stop(); // the reader of the chunk may take its time
        yield decoder.decode(read.value, { stream: true });
        idle.start();
      }
    } catch (error) {
      if (error instanceof ServiceError) throw error;
      if (call.signal?.aborted) throw call.signal.reason;
      throw idle.expired ? late(idle.ms) : unconnected(error, reader !== undefined);
    } finally {
      idle.stop();
      // Where the caller stops early, the rest is not transferred.
      await reader?.cancel().catch(() => undefined);
    }
  }

  async #errorIn(response: Response): Promise<ServiceError> {
    const status = response.type === "opaqueredirect" ? 302 : response.status;
    let text = (await response.text()).slice(0, RESPONSE_CHARS_MAX);
    // Something between here and the service may echo what it was sent.
    if (this.#apiKey) text = text.replaceAll(this.#apiKey, "***");
    return errorIn(status, text, response.headers.get("retry-after"));
  }
}

/** Aborts what takes longer than `ms` without a restart, or when the caller's signal says so. */
class IdleTimeout {
  readonly signal: AbortSignal;
  expired = false;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly ms: number,
    outer: AbortSignal | undefined,
  ) {
    const own = this.#controller.signal;
    this.signal = outer ? AbortSignal.any([outer, own]) : own;
    this.start();
  }

  start(): void {
    this.#timer = setTimeout(() => {
      this.expired = true;
      this.#controller.abort();
    }, this.ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** The path of a resource under `/v1`, with its names escaped. */
export function pathOf(...parts: (string | number)[]): string {
  return `/v1/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

/** Waits; throws the signal's reason where it is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** The value of JSON; throws `ServiceError`. */
export function parsed<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    throw malformed("The response is not JSON.");
  }
}

/** Not `crypto.randomUUID`, which pages without TLS do not have. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function malformed(detail: string): ServiceError {
  return new ServiceError({ code: "malformed_answer", detail, status: 200 });
}

function late(ms: number): TimedOut {
  return new TimedOut({ code: "no_answer", detail: `The service was silent for ${ms} ms.` });
}

function unconnected(error: unknown, answered: boolean): ConnectionFailed {
  const { message, cause } = error as Error;
  const detail = cause instanceof Error && cause.message ? cause.message : message;
  return new ConnectionFailed({ code: answered ? "connection_lost" : "unreachable", detail });
}

function limited(text: string): string {
  if (text.length > RESPONSE_CHARS_MAX) throw malformed("The response is too long.");
  return text;
}

function queryText(query: object = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

function checkedUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  // The URL is not shown, because it may have a password.
  if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username || parsed.password) {
    throw new TypeError("the URL of the service must start with http:// or https:// and a host");
  }
  return url.replace(/\/+$/, "");
}

function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  try {
    return process?.env?.[name];
  } catch {
    return undefined; // Deno without the permission to read the environment
  }
}
