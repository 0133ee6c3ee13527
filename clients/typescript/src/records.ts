/** What the service keeps under names and ids: evaluators, datasets, labels and calibrations. */

import type { Row } from "./batches.js";
import { type CallOptions, type Connection, pathOf } from "./connection.js";
import { type Criteria, named } from "./criteria.js";
import type { components, operations } from "./schema.js";

type Schemas = components["schemas"];
type Query<Name extends keyof operations> = Omit<
  NonNullable<operations[Name]["parameters"]["query"]>,
  "cursor"
>;
type WithCriteria<Request> = Omit<Request, "criteria"> & { criteria: Criteria };

export type Evaluator = Schemas["EvaluatorResponse"];
export type Dataset = Schemas["DatasetResponse"];
export type DatasetItem = Schemas["DatasetItem"];
export type Label = Schemas["LabelResponse"];
export type Draw = Schemas["DrawResponse"];
export type Calibration = Schemas["CalibrationResponse"];

const LABELS_MAX = 1_000;

/** Records of one kind, under `/v1/<kind>`. */
class Records<Record, ListQuery extends object> {
  protected readonly connection: Connection;

  constructor(
    connection: Connection,
    protected readonly kind: string,
  ) {
    this.connection = connection;
    // The connection is not shown where the client is printed.
    Object.defineProperty(this, "connection", { enumerable: false });
  }

  /** All records, newest first. */
  list(query?: ListQuery, options?: CallOptions): AsyncGenerator<Record> {
    return this.connection.pages(pathOf(this.kind), query, options);
  }

  /** A record by its name or id; throws `NotFound`. */
  async get(name: string, options: CallOptions = {}): Promise<Record> {
    return this.connection.send("GET", pathOf(this.kind, name), options);
  }

  /** Remove a record; throws `NotFound`. */
  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.connection.send("DELETE", pathOf(this.kind, name), options);
  }

  protected async post<T>(parts: (string | number)[], json: object, options: CallOptions): Promise<T> {
    return this.connection.send("POST", pathOf(this.kind, ...parts), { ...options, json });
  }
}

/** `client.evaluators`: criteria with a judge, a name and versions. */
export class Evaluators extends Records<Evaluator, Query<"list_evaluators">> {
  constructor(connection: Connection) {
    super(connection, "evaluators");
  }

  /** Save criteria under a name, as version 1; throws `Conflict` if there is one. */
  async create(
    request: WithCriteria<Schemas["EvaluatorRequest"]>,
    options: CallOptions = {},
  ): Promise<Evaluator> {
    return this.post([], { ...request, criteria: named(request.criteria) }, options);
  }

  /** Save the next version; earlier ones stay as they are. */
  async addVersion(
    name: string,
    request: WithCriteria<Schemas["EvaluatorVersionRequest"]>,
    options: CallOptions = {},
  ): Promise<Evaluator> {
    const json = { ...request, criteria: named(request.criteria) };
    return this.post([name, "versions"], json, options);
  }

  /** All versions, newest first. */
  versions(name: string, options?: CallOptions): AsyncGenerator<Evaluator> {
    return this.connection.pages(pathOf(this.kind, name, "versions"), {}, options);
  }

  /** Whether a version meets the expectations of its examples. */
  async test(
    name: string,
    version: number,
    options: CallOptions = {},
  ): Promise<Schemas["EvaluatorTestResponse"]> {
    const path = pathOf(this.kind, name, "versions", version, "test");
    return this.connection.send("POST", path, options);
  }
}

/** `client.datasets`: cases with a name and versions. */
export class Datasets extends Records<Dataset, Query<"list_datasets">> {
  constructor(connection: Connection) {
    super(connection, "datasets");
  }

  /** Make a dataset, without items; throws `Conflict` if there is one. */
  async create(request: Schemas["DatasetRequest"], options: CallOptions = {}): Promise<Dataset> {
    return this.post([], request, options);
  }

  /** Make a version of these items, or with `append` of the earlier ones and these. */
  async upload(
    name: string,
    rows: Iterable<Row & { split?: string }>,
    { append = false, ...options }: CallOptions & { append?: boolean } = {},
  ): Promise<Dataset> {
    const call = { ...options, lines: toLines(rows) };
    return this.connection.send(append ? "POST" : "PUT", pathOf(this.kind, name, "items"), call);
  }

  /** The items of the newest version, or of `version`, in the order of the upload. */
  items(
    name: string,
    query?: Query<"list_items">,
    options?: CallOptions,
  ): AsyncGenerator<DatasetItem> {
    return this.connection.pages(pathOf(this.kind, name, "items"), query, options);
  }

  /** All versions, newest first. */
  versions(name: string, options?: CallOptions): AsyncGenerator<Dataset> {
    return this.connection.pages(pathOf(this.kind, name, "versions"), {}, options);
  }
}

/** `client.labels`: what people say of cases. */
export class Labels extends Records<Label, Query<"list_labels">> {
  constructor(connection: Connection) {
    super(connection, "labels");
  }

  /** Add labels, a thousand with each request; those of a request all or none. */
  async add(labels: readonly Schemas["LabelRequest"][], options: CallOptions = {}): Promise<Label[]> {
    const added: Label[] = [];
    for (let at = 0; at < labels.length; at += LABELS_MAX) {
      const call = { ...options, lines: toLines(labels.slice(at, at + LABELS_MAX)) };
      const page = await this.connection.send<Schemas["LabelListResponse"]>(
        "POST",
        pathOf(this.kind),
        call,
      );
      added.push(...page.data);
    }
    return added;
  }

  /** Draw the rows of a batch that people should label next. */
  async draw(request: Schemas["DrawRequest"], options: CallOptions = {}): Promise<Draw> {
    return this.post(["draws"], request, options);
  }

  /** All draws, newest first. */
  draws(options?: CallOptions): AsyncGenerator<Schemas["DrawOutlineResponse"]> {
    return this.connection.pages(pathOf(this.kind, "draws"), {}, options);
  }
}

/** `client.calibrations`: how far judges agree with labels. */
export class Calibrations extends Records<Calibration, Query<"list_calibrations">> {
  constructor(connection: Connection) {
    super(connection, "calibrations");
  }

  /** Compare the results of a batch, or of an `evaluator` over a `dataset`, with labels. */
  async create(
    request: Schemas["CalibrationRequest"],
    options: CallOptions = {},
  ): Promise<Calibration> {
    return this.post([], request, options);
  }
}

function toLines(rows: Iterable<object>): string {
  return Array.from(rows, (row) => `${JSON.stringify(row)}\n`).join("");
}
