/** How calls are sent, repeated and ended; against scripted answers. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { inspect } from "node:util";

import {
  Assay,
  Conflict,
  ConnectionFailed,
  InvalidRequest,
  ServiceError,
  ServiceUnavailable,
  TimedOut,
  TooManyRequests,
} from "assay-judge";
import { json, lost, silent, withFake } from "./fake.js";

const KEY = "assay_sk_0123456789abcdef";
const REQUEST = { output: "Hello.", criteria: ["Polite."] };
const SCORED = { id: "eval_1", passed: true, score: 1, results: [], cost_usd: 0, simulated: false };
const LIMITED = { code: "tenant_rate_limited", title: "Rate limit exceeded", status: 429 };
const retry = { backoffMs: 1, backoffMsMax: 5 };

test("a refused call is repeated with the same idempotency key, after the time it is told", async () => {
  const limited = json(429, LIMITED, { "retry-after": "1" });
  await withFake([limited, lost, json(200, SCORED)], async ({ url, requests }) => {
    const started = Date.now();
    const result = await new Assay({ url, apiKey: KEY, retry }).evaluate(REQUEST);
    assert.equal(result.passed, true);
    assert.ok(Date.now() - started >= 1_000);
    const keys = new Set(requests.map((one) => one.headers["idempotency-key"]));
    assert.equal(requests.length, 3);
    assert.equal(keys.size, 1);
    assert.match([...keys][0] as string, /^[0-9a-f]{32}$/);
    assert.equal(requests[0]?.headers.authorization, `Bearer ${KEY}`);
  });
});

test("a call whose reply must not be kept has no idempotency key, and is not sent twice", async () => {
  await withFake([lost], async ({ url, requests }) => {
    const client = new Assay({ url, apiKey: "", retry });
    await assert.rejects(client.evaluate({ ...REQUEST, store: false }), ConnectionFailed);
    assert.equal(requests.length, 1);
    assert.equal(requests[0]?.headers["idempotency-key"], undefined);
    assert.equal(requests[0]?.headers.authorization, undefined);
  });
});

test("what may have been done is not repeated where the service takes no key", async () => {
  await withFake([lost], async ({ url, requests }) => {
    const client = new Assay({ url, retry });
    await assert.rejects(client.datasets.create({ name: "one" }), { code: "unreachable" });
    assert.equal(requests.length, 1);
    await assert.rejects(client.datasets.get("one"), ConnectionFailed);
    assert.equal(requests.length, 11);
  });
});

test("a wait beyond the policy is not begun", async () => {
  const limited = json(429, { ...LIMITED, retry_after_s: 3_600 });
  await withFake([limited], async ({ url, requests }) => {
    const error = await new Assay({ url }).evaluate(REQUEST).catch((caught: unknown) => caught);
    assert.ok(error instanceof TooManyRequests);
    assert.equal(error.retryAfterMs, 3_600_000);
    assert.equal(requests.length, 1);
  });
});

test("a redirect is not followed", async () => {
  await withFake([json(200, SCORED)], async (elsewhere) => {
    const redirect = json(307, {}, { location: `${elsewhere.url}/v1/evaluations` });
    await withFake([redirect], async ({ url }) => {
      await assert.rejects(new Assay({ url, apiKey: KEY }).evaluate(REQUEST), { code: "http_307" });
      assert.equal(elsewhere.requests.length, 0);
    });
  });
});

test("a silent service ends the call, and so does the caller", async () => {
  await withFake([silent], async ({ url, requests }) => {
    const client = new Assay({ url, retry: { attemptsMax: 1 } });
    await assert.rejects(client.models({ timeoutMs: 20 }), TimedOut);
    const reason = new Error("no longer wanted");
    const controller = new AbortController();
    const call = client.evaluate(REQUEST, { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(call, reason);
    await assert.rejects(client.models({ signal: controller.signal }), reason);
    assert.ok(requests.length <= 2);
  });
});

test("the caller ends the pause before a retry", async () => {
  const limited = json(429, { ...LIMITED, retry_after_s: 30 });
  await withFake([limited], async ({ url, requests }) => {
    const signal = AbortSignal.timeout(200);
    const call = new Assay({ url }).models({ signal });
    await assert.rejects(call, { name: "TimeoutError" });
    assert.equal(requests.length, 1);
  });
});

test("problems, gateways and nonsense become errors of their own", async () => {
  const cases: [number, unknown, typeof ServiceError, string][] = [
    [422, { code: "idempotency_key_reused", detail: "No." }, Conflict, "idempotency_key_reused"],
    [400, { code: "malformed_json" }, InvalidRequest, "malformed_json"],
    [502, "bad gateway", ServiceUnavailable, "http_502"],
    [500, null, ServiceError, "http_500"],
  ];
  for (const [status, body, kind, code] of cases) {
    await withFake([json(status, body)], async ({ url }) => {
      const error = await new Assay({ url }).models().catch((caught: unknown) => caught);
      assert.ok(error instanceof kind);
      assert.equal(error.code, code);
      assert.equal(error.name, kind.name);
    });
  }
  const text = json(200, undefined);
  await withFake([text], async ({ url }) => {
    await assert.rejects(new Assay({ url }).models(), ServiceError);
  });
});

test("the key is never shown", async () => {
  const echo = json(401, { code: "unauthenticated", detail: `Bearer ${KEY} is unknown` });
  await withFake([echo], async ({ url }) => {
    const client = new Assay({ url, apiKey: KEY });
    const error: unknown = await client.models().catch((caught: unknown) => caught);
    for (const value of [client, client.batches, client.labels, error]) {
      const shown = inspect(value, { depth: 20, showHidden: true }) + JSON.stringify(value);
      assert.ok(!shown.includes(KEY), shown);
    }
    assert.match(String(error), /Bearer \*\*\*/);
  });
  for (const apiKey of [`${KEY}\n${KEY}`, `${KEY} `.repeat(2), `${KEY}ü`]) {
    assert.throws(
      () => new Assay({ apiKey }),
      (error: Error) => !error.message.includes(KEY),
    );
  }
  assert.throws(
    () => new Assay({ url: `http://me:${KEY}@127.0.0.1` }),
    (error: Error) => !error.message.includes(KEY),
  );
});

test("a transfer of results that breaks off goes on behind the last one", async () => {
  const line = (index: number): string =>
    `${JSON.stringify({ ...SCORED, item_id: `${index}`, item_index: index })}\n`;
  const batch = json(200, { id: "batch_1", status: "completed" });
  await withFake(
    [
      batch,
      (_, response) => {
        response.writeHead(200, { "content-type": "application/x-ndjson" });
        response.write(line(0) + line(1) + line(2).slice(0, 20), () => response.destroy());
      },
      (_, response) => response.end(line(2)),
    ],
    async ({ url, requests }) => {
      const found = await new Assay({ url, retry }).batches.get("batch_1");
      const ids: (string | undefined)[] = [];
      for await (const result of found.results()) ids.push(result.itemId);
      assert.deepEqual(ids, ["0", "1", "2"]);
      assert.match(requests[2]?.url ?? "", /cursor=2$/);
    },
  );
});

test("a caller that stops early ends the transfer", async () => {
  let closed: Promise<unknown> | undefined;
  const endless = json(200, { id: "batch_1", status: "completed" });
  await withFake(
    [
      endless,
      (_, response) => {
        closed = once(response, "close");
        response.write(`${JSON.stringify({ ...SCORED, item_id: "0", item_index: 0 })}\n`);
      },
    ],
    async ({ url }) => {
      const found = await new Assay({ url }).batches.get("batch_1");
      for await (const result of found.results()) {
        assert.equal(result.itemId, "0");
        break;
      }
      await closed;
    },
  );
});
