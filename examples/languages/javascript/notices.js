// What a customer has been told, `notices/NAME`: the newest hundred. A message takes effect once,
// and those of one order come in their order, so nothing here looks for doubles.

const NOTICES_MAX = 100;

const keyOf = (number) => `notice/${String(number).padStart(8, "0")}`;

export function notify(self, order, status) {
  const number = (self.state.newest ?? 0) + 1;
  self.state.newest = number;
  self.state[keyOf(number)] = { order, status, at_ms: self.now() };
  if (number > NOTICES_MAX) delete self.state[keyOf(number - NOTICES_MAX)];
}

export function read(self) {
  const lines = [];
  for (const [, { order, status }] of self.scan("notice/")) lines.push({ order, status });
  return lines;
}
