// What there is of one item, `stock/ITEM`; orders reserve and release it in their transactions.

const COUNT_MAX = 1_000_000;

function refuse(code, message) {
  throw new LithoxError(code, message);
}

function checkCount(count) {
  if (!Number.isInteger(count) || count < 1 || count > COUNT_MAX) {
    refuse("bad_argument", `count is a whole number from 1 to ${COUNT_MAX}`);
  }
}

export function available(self) {
  return self.state.available ?? 0;
}

export function receive(self, count) {
  checkCount(count);
  self.state.available = available(self) + count;
  return self.state.available;
}

export function reserve(self, count) {
  checkCount(count);
  const there = available(self);
  if (count > there) refuse("sold_out", `of ${self.id} there are ${there}`);
  self.state.available = there - count;
  return self.state.available;
}

export const release = receive;
