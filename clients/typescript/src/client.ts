/** The client of a service. */

import { Batches, type Row, type Rows } from "./batches.js";
import { type CallOptions, type ClientOptions, Connection, pathOf } from "./connection.js";
import { type Criteria, named } from "./criteria.js";
import { ServiceError } from "./errors.js";
import { Calibrations, Datasets, Evaluators, Labels } from "./records.js";
import { type EvaluationDocument, EvaluationResult } from "./results.js";
import type { components } from "./schema.js";

type Schemas = components["schemas"];
export type Comparison = Schemas["ComparisonResponse"];
export type Model = Schemas["ModelResponse"];
export type EvaluationRequest = Omit<Schemas["EvaluationRequest"], "criteria"> & {
  /** A text is a rubric, and gets a name from its words: "Polite." is `polite` in the result. */
  criteria?: Criteria;
};
export type Shared = Pick<EvaluationRequest, "criteria" | "evaluator" | "judge">;

/**
 * Calls a service. Every call throws `ServiceError` if it fails.
 *
 * A call that fails for a reason that passes is repeated: after a 429, a 503 or a lost connection,
 * when the service says so or with exponential backoff.
 */
export class Assay {
  readonly batches: Batches;
  readonly evaluators: Evaluators;
  readonly datasets: Datasets;
  readonly labels: Labels;
  readonly calibrations: Calibrations;
  readonly #connection: Connection;

  constructor(options: ClientOptions = {}) {
    this.#connection = new Connection(options);
    this.batches = new Batches(this.#connection);
    this.evaluators = new Evaluators(this.#connection);
    this.datasets = new Datasets(this.#connection);
    this.labels = new Labels(this.#connection);
    this.calibrations = new Calibrations(this.#connection);
  }

  /** Judge an output by criteria, or by a stored `evaluator`. */
  async evaluate(
    request: EvaluationRequest,
    options: CallOptions = {},
  ): Promise<EvaluationResult> {
    const json = { ...request, criteria: named(request.criteria) };
    const call = { ...options, json, keyed: true };
    return new EvaluationResult(
      await this.#connection.send<EvaluationDocument>("POST", pathOf("evaluations"), call),
    );
  }

  /**
   * Judge each row, some at a time, and yield the results in the order of the rows.
   *
   * A row that fails has a result with the `error`.
   */
  async *evaluateMany(
    rows: Rows,
    { concurrency = 16, signal, timeoutMs, ...shared }: Shared & CallOptions & { concurrency?: number },
  ): AsyncGenerator<EvaluationResult> {
    const running: Promise<EvaluationResult>[] = [];
    const options = { signal, timeoutMs };
    for await (const row of rows) {
      const result = this.#evaluateRow(row, shared, options);
      result.catch(() => undefined); // it is thrown where it is awaited
      running.push(result);
      if (running.length >= concurrency) yield await (running.shift() as Promise<EvaluationResult>);
    }
    for (const result of running) yield await result;
  }

  /** Judge which of two outputs is better, in both orders. */
  async compare(
    request: Schemas["ComparisonRequest"],
    options: CallOptions = {},
  ): Promise<Comparison> {
    const call = { ...options, json: request, keyed: true };
    return this.#connection.send("POST", pathOf("comparisons"), call);
  }

  /** The models that may judge, with their prices and how they fare. */
  async models(options: CallOptions = {}): Promise<Model[]> {
    const list = await this.#connection.send<{ data: Model[] }>("GET", pathOf("models"), options);
    return list.data;
  }

  async #evaluateRow(row: Row, shared: Shared, options: CallOptions): Promise<EvaluationResult> {
    const { id, group: _, ...request } = row;
    const itemId = id === undefined ? undefined : String(id);
    try {
      const result = await this.evaluate({ ...shared, ...request } as EvaluationRequest, options);
      return new EvaluationResult(result.raw, itemId);
    } catch (error) {
      if (error instanceof ServiceError) return new EvaluationResult(undefined, itemId, error);
      throw error;
    }
  }
}
