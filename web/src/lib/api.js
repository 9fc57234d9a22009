// The console's only door to the server: JSON requests, and the event stream over fetch (EventSource cannot carry a token).

const BASE = "/homeostat/v1";
const TOKEN_KEY = "homeostat-token";
const RECONNECT_MS = 1000;

export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY) ?? "",
  set: (value) => sessionStorage.setItem(TOKEN_KEY, value),
};

const headers = (extra = {}) => (token.get() ? { ...extra, authorization: `Bearer ${token.get()}` } : extra);

/** A refusal of the server: its status and what it said. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function answer(response) {
  const text = await response.text();
  let body = null;
  try {
    body = text === "" ? null : JSON.parse(text);
  } catch {
    body = null;
  }
  if (!response.ok) throw new Refused(response.status, body?.detail ?? body?.title ?? `the server answered ${response.status}`);
  return body;
}

async function reach(path, options) {
  try {
    return await fetch(BASE + path, options);
  } catch {
    throw new Error("the server does not answer; nothing is known about the outcome");
  }
}

export const get = async (path) => answer(await reach(path, { headers: headers() }));

export const post = async (path, body) =>
  answer(
    await reach(path, {
      method: "POST",
      headers: headers({ "content-type": "application/json" }),
      body: JSON.stringify(body ?? {}),
    }),
  );

/** Fetches a document and hands it to the browser as a file; a plain link could not carry the token. */
export async function download(path, name) {
  const response = await reach(path, { headers: headers() });
  if (!response.ok) await answer(response);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Splits a stream of text into server-sent events and calls `onItem` with each one's parsed data. */
async function readEvents(stream, onItem) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart())
        .join("\n");
      if (data !== "") onItem(JSON.parse(data));
    }
  }
}

/**
 * Follows the event stream for ever; `onState` hears "live", "lost" (with the server's reason, if it gave one) or "unauthorised".
 * Returns a function that ends it.
 */
export function follow(onItem, onState) {
  const abort = new AbortController();
  const connect = async () => {
    while (!abort.signal.aborted) {
      let why = "";
      try {
        const response = await fetch(`${BASE}/events?types=traffic,view`, { headers: headers({ accept: "text/event-stream" }), signal: abort.signal });
        if (response.status === 401) return onState("unauthorised");
        if (!response.ok) await answer(response);
        onState("live");
        await readEvents(response.body, onItem);
      } catch (error) {
        if (abort.signal.aborted) return;
        why = error instanceof Refused ? error.message : "";
      }
      onState("lost", why);
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  };
  connect();
  return () => abort.abort();
}
