/** `client.batches`: rows that are judged together, and outlast this process. */

import { type CallOptions, type Connection, LINES, parsed, pathOf, sleep } from "./connection.js";
import { type Criteria, named } from "./criteria.js";
import { InvalidRequest, type Fault, TimedOut } from "./errors.js";
import { EvaluationResult, type ItemDocument } from "./results.js";
import type { components, operations } from "./schema.js";

type Schemas = components["schemas"];
export type BatchDocument = Schemas["BatchResponse"];
export type BatchComparison = Schemas["BatchComparisonResponse"];
export type Case = Omit<Schemas["EvaluationRequest"], "criteria" | "evaluator" | "judge">;
/** A row: a case with an id. */
export type Row = Pick<Case, keyof Schemas["CaseFields"] & keyof Case> & {
  id?: string | number;
  group?: string;
};
export type Rows = Iterable<Row> | AsyncIterable<Row>;
export type ResultFilter = Omit<
  NonNullable<operations["list_batch_results"]["parameters"]["query"]>,
  "cursor" | "limit"
>;
export type BatchRequest = Omit<Schemas["BatchRequest"], "criteria" | "items"> & {
  criteria?: Criteria;
  /** Rows to judge, in place of a `dataset`. If one is invalid, nothing is judged. */
  rows?: Rows;
};

const POLL_MS = 250;
const POLL_GROWTH = 1.5;
const POLL_MS_MAX = 5_000;
const UPLOAD_CHARS_MAX = 1_048_576;
const ENDED: ReadonlySet<string> = new Set(["completed", "decided", "cancelled", "failed"]);

export interface WaitOptions extends CallOptions {
  /** Called after each look at the batch. */
  onProgress?: (batch: Batch) => void;
  /** Throws `TimedOut` after this time; the batch goes on. */
  endMs?: number;
}

/** A batch as it stood when it was last read. */
export class Batch {
  readonly #connection: Connection;

  constructor(
    connection: Connection,
    /** The batch as the service gave it. */
    public raw: BatchDocument,
  ) {
    this.#connection = connection;
  }

  get id(): string {
    return this.raw.id;
  }

  get status(): BatchDocument["status"] {
    return this.raw.status;
  }

  get ended(): boolean {
    return ENDED.has(this.raw.status);
  }

  /** The mean score of the rows that are scored so far. */
  get score(): number | null {
    return this.raw.score;
  }

  /** The share of the rows that passed so far. */
  get passRate(): number | null {
    return this.raw.pass_rate;
  }

  /** Read the batch again. */
  async refresh(options: CallOptions = {}): Promise<this> {
    this.raw = await this.#connection.send("GET", this.#path(), options);
    return this;
  }

  /** Wait for the end. */
  async wait({ onProgress, endMs = Infinity, ...options }: WaitOptions = {}): Promise<this> {
    const startedMs = Date.now();
    for (let pauseMs = POLL_MS; ; pauseMs = Math.min(pauseMs * POLL_GROWTH, POLL_MS_MAX)) {
      await this.refresh(options);
      onProgress?.(this);
      if (this.ended) return this;
      if (Date.now() - startedMs > endMs) {
        throw new TimedOut({ code: "no_answer", detail: "The batch has not ended in time." });
      }
      await sleep(pauseMs, options.signal);
    }
  }

  /** The results in the order of the rows; an interrupted transfer is resumed. */
  async *results(
    filter: ResultFilter = {},
    options: CallOptions = {},
  ): AsyncGenerator<EvaluationResult> {
    let cursor = 0;
    for (let failures = 0; ; ) {
      try {
        const query = { ...filter, cursor };
        const call = { ...options, query, accept: LINES };
        for await (const line of this.#connection.lines(this.#path("results"), call)) {
          const document = parsed<ItemDocument>(line);
          cursor = document.item_index + 1;
          failures = 0;
          yield new EvaluationResult(document);
        }
        return;
      } catch (error) {
        const waitMs = this.#connection.waitMs(error, failures, true);
        if (waitMs === undefined) throw error;
        failures += 1;
        await sleep(waitMs, options.signal);
      }
    }
  }

  /** What changed from the batch `base` to this one, by criterion and row by row. */
  async compare(base: Batch | string, options: CallOptions = {}): Promise<BatchComparison> {
    const query = { base: typeof base === "string" ? base : base.id };
    for (;;) {
      // Each request waits for a while; only a comparison has criteria.
      const found = await this.#connection.send<Partial<BatchComparison>>("GET", this.#path("compare"), { ...options, query });
      if (found.criteria) return found as BatchComparison;
    }
  }

  /** Cancel the rows that wait; rows in flight still get their result. */
  async cancel(options: CallOptions = {}): Promise<this> {
    const call = { ...options, keyed: true };
    this.raw = await this.#connection.send("POST", this.#path("cancel"), call);
    return this;
  }

  /** Judge the rows without a complete result again, as a batch of its own. */
  async retry(options: CallOptions = {}): Promise<Batch> {
    const call = { ...options, keyed: true };
    const made = await this.#connection.send<BatchDocument>("POST", this.#path("retry"), call);
    return new Batch(this.#connection, made);
  }

  /** Remove the batch and its results. */
  async delete(options: CallOptions = {}): Promise<void> {
    await this.#connection.send("DELETE", this.#path(), options);
  }

  #path(...parts: string[]): string {
    return pathOf("batches", this.id, ...parts);
  }
}

export class Batches {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Start a batch over rows, or over a stored `dataset`. */
  async create(request: BatchRequest, options: CallOptions = {}): Promise<Batch> {
    const { rows, criteria, ...fields } = request;
    const json = { ...fields, criteria: named(criteria) };
    const call = { ...options, json, keyed: true };
    const made = await this.#connection.send<BatchDocument>("POST", pathOf("batches"), call);
    const batch = new Batch(this.#connection, made);
    if (rows === undefined) return batch;
    try {
      await this.#fill(batch, rows, options);
    } catch (error) {
      await batch.delete().catch(() => undefined); // the first error says more
      throw error;
    }
    return batch;
  }

  /** A batch as it stands; throws `NotFound`. */
  async get(id: string, options: CallOptions = {}): Promise<Batch> {
    const found = await this.#connection.send<BatchDocument>("GET", pathOf("batches", id), options);
    return new Batch(this.#connection, found);
  }

  /** All batches, newest first. */
  async *list(options: CallOptions = {}): AsyncGenerator<Batch> {
    for await (const found of this.#connection.pages<BatchDocument>(pathOf("batches"), {}, options)) {
      yield new Batch(this.#connection, found);
    }
  }

  /** Send the rows, some at a time, and start the batch. */
  async #fill(batch: Batch, rows: Rows, options: CallOptions): Promise<void> {
    const path = pathOf("batches", batch.id);
    const upload = async (lines: string): Promise<void> => {
      const call = { ...options, lines };
      refuseBadRows(await this.#connection.send("PUT", `${path}/items`, call));
    };
    let lines = "";
    let number = 0;
    for await (const row of rows) {
      number += 1;
      lines += `${JSON.stringify({ id: `row-${number}`, ...row })}\n`;
      if (lines.length < UPLOAD_CHARS_MAX) continue;
      await upload(lines);
      lines = "";
    }
    if (lines) await upload(lines);
    batch.raw = await this.#connection.send("POST", `${path}/start`, { ...options, keyed: true });
  }
}

function refuseBadRows(upload: Schemas["UploadResponse"]): void {
  if (!upload.rejected) return;
  throw new InvalidRequest({
    code: "invalid_request",
    detail: `${upload.rejected} rows are invalid, so no row is judged.`,
    errors: upload.bad_rows.map(
      ({ id, line, message }): Fault => ({
        pointer: `/rows/${String(id || line)}`,
        message: String(message),
      }),
    ),
  });
}
