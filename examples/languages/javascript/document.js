// A document with revisions, `document/NAME`. Each revision is a key of its own, so a save writes
// one of them however many there are; the oldest make room for new ones.

const TEXT_CHARACTERS_MAX = 10_000;
const REVISIONS_MAX = 50;
const PAGE_MAX = 20;
const PREFIX = "revision/";

// An error's further fields go to the caller with it.
function refuse(code, message, fields) {
  throw new LithoxError(code, message, fields);
}

// Keys are ordered as text, so numbers in them have a fixed width.
const keyOf = (revision) => PREFIX + String(revision).padStart(8, "0");

function checkText(text) {
  if (typeof text !== "string") refuse("bad_argument", "text is text");
  // `length` counts UTF-16 units; the second look is for texts that may still fit.
  if (text.length > TEXT_CHARACTERS_MAX && [...text].length > TEXT_CHARACTERS_MAX) {
    refuse("too_long", `text has at most ${TEXT_CHARACTERS_MAX} characters`);
  }
}

function checkNumber(name, value) {
  if (!Number.isInteger(value) || value < 0) {
    refuse("bad_argument", `${name} is a whole number from 0`);
  }
}

function find(self, revision) {
  checkNumber("revision", revision);
  return (
    self.state[keyOf(revision)] ??
    refuse("no_such_revision", `${self.id} has no revision ${revision}`)
  );
}

// Who has not seen the newest revision is told so, and nobody's work is overwritten.
function save(self, text, baseRevision, origin = {}) {
  checkNumber("base_revision", baseRevision);
  const newest = self.state.newest ?? 0;
  if (baseRevision !== newest) {
    refuse("conflict", `${self.id} is at revision ${newest}, not ${baseRevision}`, { newest });
  }
  const revision = newest + 1;
  self.state.newest = revision;
  self.state[keyOf(revision)] = {
    text,
    author: self.caller,
    saved_ms: self.now(),
    ...origin,
  };
  if (revision > REVISIONS_MAX) delete self.state[keyOf(revision - REVISIONS_MAX)];
  return revision;
}

export function put(self, text, baseRevision) {
  checkText(text);
  return save(self, text, baseRevision);
}

export function get(self, revision) {
  revision ??= self.state.newest ?? 0;
  const { text, author, saved_ms } = find(self, revision);
  return { revision, text, author, saved_ms };
}

// Makes an old revision the newest one; what came between stays.
export function restore(self, revision, baseRevision) {
  return save(self, find(self, revision).text, baseRevision, { restored_from: revision });
}

// A page of revisions behind number `after`, oldest first, without their texts.
export function history(self, after) {
  after ??= 0;
  checkNumber("after", after);
  const revisions = [];
  for (const [key, { text, ...found }] of self.scan(PREFIX, keyOf(after))) {
    if (revisions.length === PAGE_MAX) return { revisions, more: true };
    revisions.push({ revision: Number(key.slice(PREFIX.length)), ...found });
  }
  return { revisions, more: false };
}
