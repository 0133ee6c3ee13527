/** Client of Assay, an LLM evaluation service. */

export { Batch, type BatchComparison, type BatchDocument, type BatchRequest } from "./batches.js";
export type { ResultFilter, Row, Rows, WaitOptions } from "./batches.js";
export { Assay, type Comparison, type EvaluationRequest, type Model } from "./client.js";
export type { CallOptions, ClientOptions, RetryPolicy } from "./connection.js";
export type { Criteria, Criterion } from "./criteria.js";
export * from "./errors.js";
export type { Calibration, Dataset, DatasetItem, Draw, Evaluator, Label } from "./records.js";
export { type CriterionResult, EvaluationResult } from "./results.js";
export type { components, operations, paths } from "./schema.js";
