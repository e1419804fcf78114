export function echo(self, value) {
  return value;
}

export function increment(self, by) {
  self.state.count = (self.state.count ?? 0) + by;
  return self.state.count;
}

export function ask(self, count) {
  for (let n = 0; n < count; n++) self.usage();
}

export function spin(self, count) {
  let t = 0;
  for (let i = 1; i <= count; i++) t = (t * 31 + i) % 1000003;
  return t;
}

export function loop(self) {
  for (;;);
}
