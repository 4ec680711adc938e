// The server's page API: requests with this tab's key and the token, errors as the server has them.

import { readEvents } from "./events.js";

const NAMES = { client: "omnitrace-client", token: "omnitrace-token" };
const LOCK_MS = 600; // a reload takes over the lock of its tab within this time

export class ApiError extends Error {
  constructor(status, { code, message, legal, fix } = {}, retryAfter = null) {
    super(message || `the server answered ${status}`);
    Object.assign(this, { status, code, legal, fix, retryAfter });
  }
}

// `askToken(wrong)` returns the token that the user typed; it is asked where the server wants one.
export async function createApi(askToken) {
  const client = await clientKey();
  let asking = null;

  const headers = () => {
    const token = sessionStorage.getItem(NAMES.token);
    return {
      "X-Omnitrace-Client": client,
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
    };
  };

  const tokenFor = async (used) => {
    if (sessionStorage.getItem(NAMES.token) !== used) return; // another request has asked already
    asking ??= askToken(used !== null).then((token) => {
      sessionStorage.setItem(NAMES.token, token);
      asking = null;
    });
    await asking;
  };

  const request = async (path, options = {}) => {
    for (;;) {
      const used = sessionStorage.getItem(NAMES.token);
      const response = await reach(path, {
        ...options,
        headers: { ...options.headers, ...headers() },
        cache: "no-store",
      });
      if (response.status === 401) await tokenFor(used);
      else if (response.ok) return response;
      else throw await errorOf(response);
    }
  };

  const json = async (path, options) => (await request(path, options)).json();
  const send = (path, body) =>
    json(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });

  return {
    about: () => json("about"),
    runs: () => json("runs"),
    run: (id) => json(`runs/${id}`),
    start: (asked) => send("runs", asked),
    cancel: (id) => send(`runs/${id}/cancel`),
    remove: (id) => request(`runs/${id}`, { method: "DELETE" }),
    reselect: (id, selection) => send(`runs/${id}/selection`, selection),
    verify: (id) => send(`runs/${id}/verify`),
    upload(file, signal) {
      const form = new FormData();
      form.append("file", file, file.name);
      return json("uploads", { method: "POST", body: form, signal });
    },
    discard: (upload) => request(`uploads/${upload}`, { method: "DELETE" }),
    // Resolves when the server answers, to an iterator of events.
    async events(id, after, signal) {
      return readEvents((await request(`runs/${id}/events?after=${after}`, { signal })).body);
    },
    // A link cannot send headers, so the file is fetched, and saved from here.
    // What is saved is what is shown: `selection` is given where it is not the run's own.
    async download(id, file, selection = null) {
      const chosen = selection ? `?selection=${encodeURIComponent(JSON.stringify(selection))}` : "";
      const response = await request(`runs/${id}/${file}${chosen}`);
      const said = response.headers.get("Content-Disposition") ?? "";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await response.blob());
      link.download = /filename="([^"]+)"/.exec(said)?.[1] ?? file.split("/").at(-1);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    },
  };
}

async function reach(path, options) {
  try {
    return await fetch(new URL(`api/${path}`, document.baseURI), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, {
      code: "unreachable",
      message: "the server cannot be reached",
      fix: "check that it runs, and try again",
    });
  }
}

async function errorOf(response) {
  const body = await response.json().catch(() => ({}));
  return new ApiError(response.status, body.error, response.headers.get("Retry-After"));
}

// Each tab has a key of its own, which a reload keeps. A duplicated tab starts with a copy of the
// storage: the lock that its twin holds tells it to make another key.
async function clientKey() {
  const key = sessionStorage.getItem(NAMES.client);
  if (key && (await holds(key))) return key;
  const made = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
  sessionStorage.setItem(NAMES.client, made);
  await holds(made);
  return made;
}

function holds(key) {
  if (!navigator.locks) return Promise.resolve(true); // only where the page came over plain HTTP
  const until = { signal: AbortSignal.timeout(LOCK_MS) };
  return new Promise((resolve) => {
    navigator.locks
      .request(`omnitrace-${key}`, until, () => {
        resolve(true);
        return new Promise(() => {}); // held until the tab goes
      })
      .catch(() => resolve(false));
  });
}
