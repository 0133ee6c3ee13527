/** What the service made of a case. */

import { ServiceError } from "./errors.js";
import type { components } from "./schema.js";

type Schemas = components["schemas"];
/** What one criterion says: `passed` is null if it is not scored, and `reason` says why. */
export type CriterionResult = Schemas["CriterionResult"];
export type EvaluationDocument = Schemas["EvaluationResponse"];
export type ItemDocument = Schemas["BatchItemResponse"] | Schemas["FailedItemResponse"];

/**
 * What was made of a case.
 *
 * `passed` is true if every criterion passed, false if one failed, and null if none failed but one
 * is not scored. A row that failed as a whole has an `error`.
 */
export class EvaluationResult {
  readonly passed: boolean | null;
  readonly score: number | null;
  readonly criteria: readonly CriterionResult[];
  readonly costUsd: number;
  /** Whether any verdict is simulated: no model was asked. */
  readonly simulated: boolean;
  readonly id: string | undefined;
  readonly itemId: string | undefined;
  readonly error: ServiceError | undefined;

  constructor(
    /** The response as the service gave it; undefined if it gave none. */
    readonly raw: EvaluationDocument | ItemDocument | undefined,
    itemId?: string,
    error?: ServiceError,
  ) {
    const scored = raw !== undefined && "results" in raw ? raw : undefined;
    this.passed = scored?.passed ?? null;
    this.score = scored?.score ?? null;
    this.criteria = scored?.results ?? [];
    this.costUsd = scored?.cost_usd ?? 0;
    this.simulated = scored?.simulated ?? false;
    this.id = scored?.id;
    this.itemId = itemId ?? (raw !== undefined && "item_id" in raw ? raw.item_id : undefined);
    this.error =
      raw !== undefined && "error" in raw
        ? new ServiceError({ code: raw.error.code, detail: raw.error.message })
        : error;
  }

  /** The criteria that are not scored; each has a `reason`. */
  get unscored(): readonly CriterionResult[] {
    return this.criteria.filter((one) => one.status === "unscored");
  }

  /** What one criterion says; throws `RangeError` if there is none of this name. */
  criterion(name: string): CriterionResult {
    const found = this.criteria.find((one) => one.name === name);
    if (found !== undefined) return found;
    const known = this.criteria.map((one) => one.name).join(", ");
    throw new RangeError(`there is no criterion "${name}"; the criteria are: ${known}`);
  }
}
