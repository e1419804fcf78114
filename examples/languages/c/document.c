/* A document with revisions, `document/NAME`. Each revision is a key of its own, so a save writes
** one of them however many there are; the oldest make room for new ones. */
#include "parts.h"

#define TEXT_CHARACTERS_MAX 10000
#define REVISIONS_MAX 50
#define PAGE_MAX 20
#define PREFIX LX("revision/")

static lx_str key_of(int64_t revision) {
  return lx_concat(PREFIX, padded(revision));
}

static int64_t revision_of(lx_str key) {
  int64_t revision = 0;
  for (uint32_t i = PREFIX.length; i < key.length; i++) revision = revision * 10 + key.at[i] - '0';
  return revision;
}

/* Every character of UTF-8 has one byte that does not continue another. */
static uint32_t characters_of(lx_str text) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < text.length; i++) count += (text.at[i] & 0xc0) != 0x80;
  return count;
}

/* Leaves an error unless the argument is a whole number; gives it, or what stands for its lack. */
static int64_t whole(lx_str name, lx_value value) {
  if (!is_whole(value, 0, INT64_MAX)) {
    REFUSE("bad_argument", JOIN(name, LX(" is a whole number from 0")));
  }
  return lx_as_int(value, 0);
}

static lx_value find(int64_t revision) {
  lx_value found = lx_get(key_of(revision));
  if (!lx_is_null(found)) return found;
  return REFUSE("no_such_revision",
                JOIN(lx_self.id, LX(" has no revision "), number(revision)));
}

/* Who has not seen the newest revision is told so, and nobody's work is overwritten. */
static lx_value save(lx_value text, int64_t base_revision, lx_value restored_from) {
  int64_t newest = lx_get_int(LX("newest"), 0), revision = newest + 1;
  lx_value saved = lx_map(), data = lx_map();
  if (base_revision != newest) {
    lx_set(&data, LX("newest"), lx_int(newest));
    return lx_fail_with(LX("conflict"),
                        JOIN(lx_self.id, LX(" is at revision "), number(newest), LX(", not "),
                             number(base_revision)),
                        data);
  }
  lx_set(&saved, LX("text"), text);
  lx_set(&saved, LX("author"), lx_text(lx_self.caller));
  lx_set(&saved, LX("saved_ms"), lx_int(lx_self.now_ms));
  if (!lx_is_null(restored_from)) lx_set(&saved, LX("restored_from"), restored_from);
  lx_put(LX("newest"), lx_int(revision));
  lx_put(key_of(revision), saved);
  if (revision > REVISIONS_MAX) lx_delete(key_of(revision - REVISIONS_MAX));
  return lx_int(revision);
}

LX_HANDLER(put) {
  lx_value text = lx_arg(0);
  if (text.kind != LX_TEXT) return REFUSE("bad_argument", LX("text is text"));
  if (characters_of(lx_as_text(text, LX(""))) > TEXT_CHARACTERS_MAX) {
    return REFUSE("too_long",
                  JOIN(LX("text has at most "), number(TEXT_CHARACTERS_MAX), LX(" characters")));
  }
  return save(text, whole(LX("base_revision"), lx_arg(1)), lx_null());
}

LX_HANDLER(get) {
  lx_value wanted = lx_is_null(lx_arg(0)) ? lx_int(lx_get_int(LX("newest"), 0)) : lx_arg(0);
  int64_t revision = whole(LX("revision"), wanted);
  lx_value found = find(revision), answer = lx_map();
  lx_set(&answer, LX("revision"), lx_int(revision));
  lx_set(&answer, LX("text"), lx_field(found, LX("text")));
  lx_set(&answer, LX("author"), lx_field(found, LX("author")));
  lx_set(&answer, LX("saved_ms"), lx_field(found, LX("saved_ms")));
  return answer;
}

/* Makes an old revision the newest one; what came between stays. An error that is left on the way
** lets nothing be written and is the run's end, so it needs no look in between. */
LX_HANDLER(restore) {
  int64_t revision = whole(LX("revision"), lx_arg(0));
  lx_value text = lx_field(find(revision), LX("text"));
  return save(text, whole(LX("base_revision"), lx_arg(1)), lx_int(revision));
}

/* A page of revisions behind number `after`, oldest first, without their texts. */
LX_HANDLER(history) {
  lx_value after = lx_is_null(lx_arg(0)) ? lx_int(0) : lx_arg(0);
  lx_value revisions = lx_list(), page = lx_map();
  int64_t revision = whole(LX("after"), after);
  lx_cursor at = lx_scan(PREFIX, key_of(revision));
  bool more;
  while ((more = lx_next(&at)) && revisions.length < PAGE_MAX) {
    lx_value line = lx_map(), origin = lx_field(at.value, LX("restored_from"));
    lx_set(&line, LX("revision"), lx_int(revision_of(at.key)));
    lx_set(&line, LX("author"), lx_field(at.value, LX("author")));
    lx_set(&line, LX("saved_ms"), lx_field(at.value, LX("saved_ms")));
    if (!lx_is_null(origin)) lx_set(&line, LX("restored_from"), origin);
    lx_push(&revisions, line);
  }
  lx_set(&page, LX("revisions"), revisions);
  lx_set(&page, LX("more"), lx_bool(more));
  return page;
}
