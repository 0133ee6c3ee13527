/** Criteria as callers write them. */

import type { components } from "./schema.js";

export type Criteria = NonNullable<components["schemas"]["EvaluationRequest"]["criteria"]>;
export type Criterion = Extract<Criteria, unknown[]>[number];

const NAME_CHARS_MAX = 40;

/**
 * The criteria, where each text becomes a rubric that is named by its first words.
 *
 * "Polite." is `polite` in the result, where the service would call it `rubric`.
 */
export function named(criteria: Criteria): Criteria;
export function named(criteria: Criteria | undefined): Criteria | undefined;
export function named(criteria: Criteria | undefined): Criteria | undefined {
  if (criteria === undefined) return undefined;
  const listed: readonly Criterion[] = Array.isArray(criteria) ? criteria : [criteria];
  const taken = new Set(listed.map((one) => (typeof one === "string" ? null : one.name)));
  return listed.map((one) => (typeof one === "string" ? rubric(one, taken) : one));
}

function rubric(text: string, taken: Set<unknown>): Criterion {
  const words = text.toLowerCase().match(/[\p{L}\p{N}\p{M}_]+/gu) ?? [];
  while (words.length > 1 && words.join("_").length > NAME_CHARS_MAX) words.pop();
  const stem = words.join("_").slice(0, NAME_CHARS_MAX);
  if (!stem) return text;
  let name = stem;
  for (let count = 2; taken.has(name); count += 1) name = `${stem}_${count}`;
  taken.add(name);
  return { type: "rubric", name, rubric: text };
}
