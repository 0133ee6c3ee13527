/**
 * What calls of the client throw.
 *
 *     ServiceError             every call that failed
 *     ├ InvalidRequest         `errors` names the fields at fault
 *     ├ Unauthorized           no API key, or a wrong one
 *     ├ Forbidden              the key's role does not permit it
 *     ├ NotFound
 *     ├ Conflict               the resource's state does not allow it
 *     ├ TooManyRequests        a quota or rate limit; `retryAfterMs` says how long to wait
 *     ├ ServiceUnavailable     busy, or something behind the service does not answer
 *     ├ TimedOut               no answer in time
 *     └ ConnectionFailed       no connection, or one that was lost
 */

import type { components } from "./schema.js";

const FAULTS_SHOWN_MAX = 3;
const DETAIL_CHARS_MAX = 500;

export type Fault = components["schemas"]["ProblemField"];

/** What an error is made of. */
export interface ErrorFields {
  code: string;
  detail: string;
  status?: number;
  errors?: readonly Fault[];
  retryAfterMs?: number | undefined;
  requestId?: string | undefined;
}

/**
 * A problem document (RFC 9457), or a failure to get a response.
 *
 * `code` is a problem code of the API, `unreachable` (no connection), `connection_lost`, `no_answer`
 * (too late), `malformed_answer`, or `http_NNN` for the response of something else, such as a
 * gateway. `status` is 0 without a response.
 */
export class ServiceError extends Error {
  readonly code: string;
  readonly detail: string;
  readonly status: number;
  readonly errors: readonly Fault[];
  readonly retryAfterMs: number | undefined;
  readonly requestId: string | undefined;

  constructor({ code, detail, status = 0, errors = [], retryAfterMs, requestId }: ErrorFields) {
    const untold = errors.filter(({ message }) => !detail.includes(message));
    const shown = untold.slice(0, FAULTS_SHOWN_MAX).map((one) => `${one.pointer}: ${one.message}`);
    super(`${code}: ${detail}${shown.length ? ` (${shown.join("; ")})` : ""}`);
    this.name = new.target.name;
    this.code = code;
    this.detail = detail;
    this.status = status;
    this.errors = errors;
    this.retryAfterMs = retryAfterMs;
    this.requestId = requestId;
  }
}

/** The request is wrong; the same one cannot succeed. */
export class InvalidRequest extends ServiceError {}
/** The service needs an API key, or does not know this one. */
export class Unauthorized extends ServiceError {}
/** The role of the API key does not permit this. */
export class Forbidden extends ServiceError {}
/** There is no such resource. */
export class NotFound extends ServiceError {}
/** The resource's current state does not allow this. */
export class Conflict extends ServiceError {}
/** A quota or a rate limit is exhausted. */
export class TooManyRequests extends ServiceError {}
/** The service is busy, or something that it needs does not answer. */
export class ServiceUnavailable extends ServiceError {}
/** There was no answer in time. */
export class TimedOut extends ServiceError {}
/** There is no connection to the service, or it was lost. */
export class ConnectionFailed extends ServiceError {}

const BY_STATUS: Readonly<Record<number, typeof ServiceError>> = {
  400: InvalidRequest,
  401: Unauthorized,
  403: Forbidden,
  404: NotFound,
  405: InvalidRequest,
  408: TimedOut,
  409: Conflict,
  413: InvalidRequest,
  415: InvalidRequest,
  422: InvalidRequest,
  429: TooManyRequests,
  502: ServiceUnavailable,
  503: ServiceUnavailable,
  504: TimedOut,
};

/** The error in a response: a problem document, or the text of a gateway. */
export function errorIn(status: number, body: string, retryAfter: string | null): ServiceError {
  const problem = objectIn(body);
  const code = typeof problem.code === "string" ? problem.code : `http_${status}`;
  const detail = problem.detail ?? problem.title ?? `HTTP status ${status}`;
  const known = code === "idempotency_key_reused" ? Conflict : BY_STATUS[status];
  return new (known ?? ServiceError)({
    code,
    detail: String(detail).slice(0, DETAIL_CHARS_MAX),
    status,
    errors: Array.isArray(problem.errors) ? (problem.errors as Fault[]) : [],
    retryAfterMs: waitMs(problem.retry_after_s, retryAfter),
    requestId: typeof problem.request_id === "string" ? problem.request_id : undefined,
  });
}

function objectIn(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** Time to wait: the field, or the header, which can be a date (RFC 9110). */
function waitMs(field: unknown, header: string | null): number | undefined {
  if (typeof field === "number") return Math.max(0, field * 1_000);
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1_000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
