/** A service whose answers are scripted, for what a real one rarely does. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface Fake {
  url: string;
  requests: IncomingMessage[];
}

/** Runs `work` with a server that gives the answers one after the other, the last one for ever. */
export async function withFake(
  answers: Answer[],
  work: (fake: Fake) => Promise<void>,
): Promise<void> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    const answer = answers[Math.min(requests.length, answers.length - 1)] as Answer;
    requests.push(request);
    // The body is read first: a connection that is closed before loses the answer.
    request.resume().on("end", () => answer(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await work({ url, requests });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

export const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };

/** Closes the connection without an answer. */
export const lost: Answer = (request) => request.socket.destroy();
/** Never answers. */
export const silent: Answer = () => undefined;
