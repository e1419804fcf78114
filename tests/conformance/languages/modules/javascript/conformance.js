// The handlers of README.md in JavaScript. What a handler does is said there, once.

// Things that must not outlive a run; `bump` counts each up.
let moduleVariable = 0;
globalThis.bumpGlobal = 0;
Math.bumpLibrary = 0;
String.prototype.bumpMethod = 0;
LithoxError.bumpOurs = 0;
const keptInMap = new Map([["count", 0]]);
const keptInBuffer = new Uint32Array(1);
const keptByClosure = (() => {
  let kept = 0;
  return () => (kept += 1);
})();
const counting = (function* () {
  for (let kept = 1; ; kept++) yield kept;
})();

// Values --------------------------------------------------------------------------------------

export function echo(self, value) {
  return value;
}

export function pair(self, a, b) {
  return [a ?? null, b ?? null];
}

export function describe(self, value) {
  if (value === null || value === undefined) return "null";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number")
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? "int" : "float";
  if (typeof value === "string") return "text";
  if (value instanceof Uint8Array) return "bytes";
  return Array.isArray(value) ? "list" : "map";
}

const makers = {
  nan: () => NaN,
  infinity: () => Infinity,
  minus_infinity: () => -Infinity,
  beyond_int: () => 2n ** 64n,
  lone_surrogate: () => "half \ud83d",
  cycle: () => {
    const list = [];
    list.push(list);
    return list;
  },
  function: () => echo,
};

export function make(self, kind, key) {
  if (!Object.hasOwn(makers, kind)) return "cannot";
  if (!key) return makers[kind]();
  self.state[key] = makers[kind]();
}

export function empty(self, kind) {
  return kind === "list" ? [] : {};
}

export function nest(self, depth) {
  let value = [];
  for (let n = 1; n < depth; n++) value = [value];
  return value;
}

export function text(self, length) {
  return "x".repeat(length);
}

export function _hidden() {
  return 1;
}

// Whose run it is -----------------------------------------------------------------------------

export function who(self) {
  return {
    id: self.id, caller: self.caller, request_id: self.requestId, attempt: self.attempt,
  };
}

function attempt(action) {
  try {
    return action();
  } catch {
    return undefined;
  }
}

export function forge(self) {
  for (const name of ["id", "caller", "requestId", "attempt"]) {
    attempt(() => { self[name] = "forged"; });
    attempt(() => Object.defineProperty(self, name, { value: "forged" }));
    attempt(() => { delete self[name]; });
    attempt(() => Object.setPrototypeOf(self, { [name]: "forged" }));
    attempt(() => { Object.prototype[name] = "forged"; });
  }
  return who(self);
}

export function log(self, level, line, fields) {
  self.log(level, line, fields);
}

export function say(self, line) {
  console.log(line);
}

export function log_often(self, count, size) {
  const line = "x".repeat(size);
  for (let n = 0; n < count; n++) self.log("info", line);
}

export function usage(self) {
  return self.usage();
}

// State ---------------------------------------------------------------------------------------

export function increment(self, by) {
  self.state.count = (self.state.count ?? 0) + (by ?? 1);
  return self.state.count;
}

export function get(self, key) {
  return self.state[key];
}

export function has(self, key) {
  return key in self.state;
}

export function put(self, key, value) {
  self.state[key] = value;
}

function remove(self, key) {
  delete self.state[key];
}
export { remove as delete };

function countLeaves(value) {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return 1;
  return Object.values(value).reduce((count, item) => count + countLeaves(item), 0);
}

export function look(self, key) {
  return countLeaves(self.state[key]);
}

function editValue(value) {
  value.inner.count += 1;
  value.inner.list.push("added");
}

export function edit(self, key) {
  editValue(self.state[key]);
}

export function unedit(self, key) {
  const { inner } = self.state[key];
  editValue(self.state[key]);
  inner.count -= 1;
  inner.list.pop();
}

export function detach(self, key) {
  const old = self.state[key];
  self.state[key] = { new: true };
  editValue(old);
}

export function share(self, key, other) {
  self.state[other] = self.state[key];
}

export function keys(self) {
  return Object.keys(self.state);
}

export function scan(self, prefix, after) {
  return [...self.scan(prefix, after)];
}

export function range(self, first, end, after) {
  return [...self.range(first, end, after)];
}

export function scan_some(self, prefix, count) {
  return self.scan(prefix).take(count).toArray();
}

export function scan_own(self, prefix, added, removed) {
  self.state[added] = true;
  delete self.state[removed];
  return [...self.scan(prefix)].map(([key]) => key);
}

export function fill(self, prefix, count, size) {
  const value = "x".repeat(size);
  for (let n = 1; n <= count; n++) self.state[prefix + String(n).padStart(5, "0")] = value;
}

// Others --------------------------------------------------------------------------------------

export function call(self, entity, handler, args) {
  return self.call(entity, handler, ...(args ?? []));
}

export async function try_call(self, entity, handler, args) {
  try {
    return { value: (await self.call(entity, handler, ...(args ?? []))) ?? null };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
}

export function put_call(self, key, value, entity, handler, args) {
  self.state[key] = value;
  return try_call(self, entity, handler, args);
}

export function call_fail(self, entity, handler, args) {
  self.call(entity, handler, ...(args ?? []));
  throw new LithoxError("after_call", "after the call");
}

export function request(self, entity, handler, args) {
  return self.request(entity, handler, ...(args ?? []));
}

export function request_fail(self, entity, handler, args) {
  self.request(entity, handler, ...(args ?? []));
  throw new LithoxError("after_request", "after the request");
}

export function send(self, entity, handler, args) {
  return self.send(entity, handler, ...(args ?? []));
}

export function send_fail(self, entity, handler, args) {
  self.send(entity, handler, ...(args ?? []));
  throw new LithoxError("after_send", "after sending");
}

export function after(self, ms, handler, args) {
  return self.after(ms, handler, ...(args ?? []));
}

export function schedule(self, options) {
  return self.schedule(options);
}

export function cancel(self, id) {
  return self.cancel(id);
}

export function timers(self, after) {
  return self.timers(after);
}

// Big values ----------------------------------------------------------------------------------

export function write_big(self, key, pieces, size) {
  const writer = self.writer(key);
  for (let n = 0; n < pieces; n++) writer.write("x".repeat(size));
  return writer.close();
}

export function leave_big(self, key) {
  self.writer(key).write("never closed");
}

export function read_big(self, key, size) {
  const reader = self.reader(key);
  if (!reader) return null;
  let pieces = 0, bytes = 0;
  for (let piece; (piece = reader.read(size)); pieces++) bytes += piece.length;
  return { size: reader.size, digest: reader.digest, pieces, bytes };
}

export function big_at(self, key, offset, size) {
  const reader = self.reader(key);
  reader.seek(offset);
  return reader.read(size) ?? new Uint8Array();
}

// Errors --------------------------------------------------------------------------------------

function raise(message) {
  throw new Error(message); // RAISED HERE
}

export async function fail(self, message, code, data) {
  if (!code) raise(message);
  throw new LithoxError(code, message, data ?? {});
}

export function put_fail(self, key, value, message) {
  self.state[key] = value;
  delete self.state.count;
  self.state["not " + key] = true;
  throw new Error(message);
}

function caught() {
  try {
    null.count;
  } catch {
    return "caught";
  }
  return "passed";
}
export { caught as catch };

// Limits --------------------------------------------------------------------------------------

export function loop() {
  for (;;);
}

export async function loop_caught() {
  const again = () => { for (;;); };
  for (;;) {
    try {
      try {
        await Promise.reject(new Error()).finally(again);
      } catch {
        again();
      } finally {
        again();
      }
    } catch {
      again();
    } finally {
      continue;
    }
  }
}

export function loop_asking(self) {
  for (;;) attempt(() => self.usage());
}

export function recurse(self) {
  return 1 + recurse(self);
}

export function eat() {
  const kept = [];
  for (;;) kept.push(new Uint8Array(100_000).fill(kept.length));
}

export function eat_caught() {
  const kept = [];
  for (;;) {
    try {
      for (;;) kept.push(new Uint8Array(100_000).fill(kept.length));
    } catch {
      kept.push(null);
    }
  }
}

export function ask_often(self, count) {
  let answered = 0;
  for (let n = 0; n < count; n++) {
    try {
      self.usage();
      answered += 1;
    } catch {
      continue;
    }
  }
  return answered;
}

export function spin(self, count) {
  let t = 0;
  for (let i = 1; i <= count; i++) t = (t * 31 + i) % 1000003;
  return t;
}

// Determinism, authority, images --------------------------------------------------------------

export function random(self, count) {
  return Array.from({ length: count }, () => Math.floor(Math.random() * 2 ** 40));
}

export function now(self) {
  return self.now();
}

export function clocks() {
  return [Date.now(), new Date().getTime(), Date.parse(new Date().toISOString())];
}

export async function mixed(self, count) {
  const seen = [];
  const map = new Map(), object = {}, weak = new WeakMap();
  for (let n = 1; n <= count; n++) {
    map.set(`key ${(n * 7919) % 10007}`, Math.random());
    map.set({}, n);
    object[`key ${(n * 7919) % 10007}`] = n * 0.1;
    object[n] = n / 3;
    weak.set(object, n);
    Promise.resolve(n).then((value) => seen.push(value));
  }
  for (const [key, value] of map) seen.push(`${String(key)}=${value}`);
  for (const key in object) seen.push(`${key}=${object[key].toPrecision(15)}`);
  const sorted = Array.from({ length: count }, () => Math.floor(Math.random() * count));
  seen.push(sorted.sort((a, b) => b - a).join());
  await null;
  seen.push(new Date().toString(), new Date(0).toLocaleString(), new Date().getTimezoneOffset());
  seen.push(attempt(() => null.x) ?? "", String(Symbol("s")), echo.toString().length);
  return seen;
}

export function bump(self) {
  moduleVariable += 1;
  globalThis.bumpGlobal += 1;
  Math.bumpLibrary += 1;
  String.prototype.bumpMethod += 1;
  LithoxError.bumpOurs += 1;
  echo.bumpHandler = (echo.bumpHandler ?? 0) + 1;
  Object.getPrototypeOf(self.scan("")).bumpScan =
    (Object.getPrototypeOf(self.scan("")).bumpScan ?? 0) + 1;
  keptInMap.set("count", keptInMap.get("count") + 1);
  keptInBuffer[0] += 1;
  return [
    moduleVariable, globalThis.bumpGlobal, Math.bumpLibrary, String.prototype.bumpMethod,
    LithoxError.bumpOurs, echo.bumpHandler, Object.getPrototypeOf(self.scan("")).bumpScan,
    keptInMap.get("count"), keptInBuffer[0], keptByClosure(), counting.next().value,
  ];
}

async function tryAll(...actions) {
  for (const action of actions) {
    try {
      const got = await action();
      if (got !== undefined && got !== null && got !== false) return `reached: ${String(got)}`;
    } catch {
      continue;
    }
  }
  return "absent";
}

export async function reach(self) {
  const world = globalThis;
  return {
    files: await tryAll(
      () => world.std, () => world.os, () => import("fs"), () => import("std"),
      () => import("/etc/passwd"), () => world.require("fs"), () => world.Deno, () => world.Bun,
    ),
    network: await tryAll(
      () => world.fetch("http://127.0.0.1"), () => world.XMLHttpRequest, () => world.WebSocket,
      () => import("net"),
    ),
    environment: await tryAll(
      () => world.process, () => world.Intl, () => world.scriptArgs, () => world.navigator,
    ),
    process: await tryAll(
      () => world.Worker, () => world.setTimeout, () => world.gc, () => world.SharedArrayBuffer,
      () => world.Atomics, () => world.WeakRef, () => world.FinalizationRegistry,
    ),
    clock:
      Date.now() === self.now() && world.performance === undefined
        ? "virtual" : `reached: ${Date.now()}`,
    randomness: "virtual", // From the run's seed: the suite compares runs.
    code: await tryAll(
      () => import("./conformance.js?again"), () => world.bjson, () => world.WebAssembly,
      () => world.__loadScript,
    ),
    host: await tryAll(
      () => world.syscall, () => world.lithox, () => Object.getPrototypeOf(self),
      () => Object.getPrototypeOf(self.state), () => self.state.constructor,
      () => attempt(() => caught.caller),
    ),
  };
}
