/** The client against a real service, which ASSAY_URL and ASSAY_API_KEY name. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  Assay,
  Conflict,
  ConnectionFailed,
  InvalidRequest,
  NotFound,
  type Row,
  Unauthorized,
} from "assay-judge";
import { withFake } from "./fake.js";

const client = new Assay();
const polite = { type: "contains", name: "polite", value: "please" } as const;
const unscored = {
  type: "python",
  name: "broken",
  source: "def grade(sample, item): return float('nan')",
} as const;
const rows: Row[] = ["Wait, please.", "Wait.", "Come in, please."].map((output, index) => ({
  id: index,
  input: "May I come in?",
  output,
}));

async function count(listed: AsyncIterable<unknown>): Promise<number> {
  let found = 0;
  for await (const _ of listed) found += 1;
  return found;
}

test("an evaluation says what each criterion found", async () => {
  const result = await client.evaluate({
    input: "May I come in?",
    output: "Come in, please.",
    criteria: ["Polite.", "Polite?", polite],
  });
  assert.equal(result.criterion("polite").explanation, "the output contains 'please'");
  assert.equal(result.criterion("polite_2").type, "rubric");
  assert.equal(result.simulated, true);
  assert.equal(result.criteria.length, 3);
  assert.throws(() => result.criterion("helpful"), /the criteria are: polite_2, polite_3, polite$/);
});

test("what passes, fails and is not scored is told apart", async () => {
  const passed = async (output: string, criteria: (typeof polite | typeof unscored)[]) =>
    (await client.evaluate({ output, criteria })).passed;
  assert.equal(await passed("please", [polite]), true);
  assert.equal(await passed("no", [polite]), false);
  assert.equal(await passed("please", [polite, unscored]), null);
  const result = await client.evaluate({ output: "", criteria: [unscored] });
  assert.equal(result.unscored[0]?.reason, "check_error");
});

test("problems are errors with the field at fault", async () => {
  const error: unknown = await client
    .evaluate({ output: "Hello.", criteria: [{ ...polite, value: 7 as unknown as string }] })
    .catch((caught: unknown) => caught);
  assert.ok(error instanceof InvalidRequest);
  assert.equal(error.code, "invalid_request");
  assert.equal(error.status, 422);
  assert.equal(error.errors[0]?.pointer, "/criteria/0/value");
  assert.match(error.message, /\/criteria\/0\/value: /);
  assert.match(error.requestId ?? "", /^req_/);
  await assert.rejects(client.datasets.get("none"), NotFound);
  await assert.rejects(new Assay({ apiKey: "wrong" }).models(), Unauthorized);
  let url = "";
  await withFake([], async (fake) => void ({ url } = fake));
  const nowhere = new Assay({ url, retry: { attemptsMax: 2, backoffMs: 1 } });
  await assert.rejects(nowhere.models(), (caught: unknown) => {
    assert.ok(caught instanceof ConnectionFailed);
    return /^unreachable: .*ECONNREFUSED/.test(caught.message);
  });
});

test("many rows are judged some at a time, in order", async () => {
  const found: [string | undefined, boolean | null, string | undefined][] = [];
  const many = [...rows, { id: "bad", output: 7 as unknown as string }];
  for await (const one of client.evaluateMany(many, { criteria: [polite], concurrency: 2 })) {
    found.push([one.itemId, one.passed, one.error?.code]);
  }
  assert.deepEqual(found, [
    ["0", true, undefined],
    ["1", false, undefined],
    ["2", true, undefined],
    ["bad", null, "invalid_request"],
  ]);
});

test("two outputs are compared", async () => {
  const compared = await client.compare({ output_a: "Yes.", output_b: "No.", criteria: "Polite." });
  assert.equal(compared.object, "comparison");
});

test("a batch over rows is made, awaited and read", async () => {
  const batch = await client.batches.create({ name: "three", criteria: [polite], rows });
  const seen: string[] = [];
  await batch.wait({ onProgress: ({ status }) => seen.push(status) });
  assert.equal(seen.at(-1), "completed");
  assert.equal(batch.passRate, 2 / 3);
  const passed: (boolean | null)[] = [];
  for await (const result of batch.results()) passed.push(result.passed);
  assert.deepEqual(passed, [true, false, true]);
  const failing: string[] = [];
  for await (const result of batch.results({ passed: false })) failing.push(result.itemId ?? "");
  assert.deepEqual(failing, ["1"]);
  const other = await client.batches.create({ criteria: [polite], rows });
  await other.wait();
  assert.equal((await other.compare(batch)).candidate.id, other.id);
  const ids: string[] = [];
  for await (const one of client.batches.list()) ids.push(one.id);
  assert.deepEqual(ids.slice(0, 2), [other.id, batch.id]);
  await other.delete();
  await assert.rejects(client.batches.get(other.id), NotFound);
});

test("a bad row is refused by its id, and no batch stays", async () => {
  const before = await count(client.batches.list());
  const bad = [...rows, { id: "bad", output: 7 as unknown as string }];
  const error: unknown = await client.batches
    .create({ criteria: [polite], rows: bad })
    .catch((caught: unknown) => caught);
  assert.ok(error instanceof InvalidRequest);
  assert.equal(error.errors[0]?.pointer, "/rows/bad");
  assert.equal(await count(client.batches.list()), before);
});

test("evaluators, datasets, labels and calibrations fit together", async () => {
  await client.evaluators.create({ name: "manners", criteria: [polite] });
  await assert.rejects(client.evaluators.create({ name: "manners", criteria: [polite] }), Conflict);
  assert.equal((await client.evaluators.addVersion("manners", { criteria: [polite] })).version, 2);
  await client.datasets.create({ name: "doors" });
  const many = Array.from({ length: 30 }, (_, index) => ({
    id: `row ${index}`,
    split: index < 10 ? "dev" : "test",
    output: index % 2 ? "Wait, please." : "Wait.",
  }));
  assert.equal((await client.datasets.upload("doors", many.slice(0, 20))).items, 20);
  const whole = await client.datasets.upload("doors", many.slice(20), { append: true });
  assert.equal(whole.items, 30);
  const dev: unknown[] = [];
  for await (const item of client.datasets.items("doors", { split: "dev", limit: 3 })) {
    dev.push(item.id);
  }
  assert.deepEqual(dev, many.slice(0, 10).map((one) => one.id));

  const batch = await client.batches.create({ evaluator: "manners", dataset: "doors", name: "b" });
  await batch.wait();
  const labels = await client.labels.add(
    many.map((one, index) => ({
      item: { dataset: "doors", id: one.id },
      criterion: "polite",
      annotator: "mira",
      passed: index % 2 === 1,
    })),
  );
  assert.equal(labels.length, 30);
  const listed = new Set<string>();
  for await (const label of client.labels.list({ annotator: "mira", limit: 7 })) {
    listed.add(label.id);
  }
  assert.equal(listed.size, 30);
  const draw = await client.labels.draw({ batch: batch.id, criterion: "polite", labels: 5 });
  assert.equal(draw.batch, batch.id);
  const report = await client.calibrations.create({ batch: batch.id });
  assert.equal(report.criteria[0]?.criterion, "polite");
  assert.equal((await client.calibrations.get(report.id)).id, report.id);
  await client.calibrations.delete(report.id);
});
