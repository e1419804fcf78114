"""A document with revisions, `document/NAME`.

Each revision is a key of its own, so a save writes one of them however many there are; the oldest
make room for new ones. All of them may be more than is loaded into `self.state` before a run, and a
run needs one at most: so they are read one by one.
"""

TEXT_CHARACTERS_MAX = 10_000
REVISIONS_MAX = 50
PAGE_MAX = 20
PREFIX = "revision/"


# Keys are ordered as text, so numbers in them have a fixed width.
def _key_of(revision: int) -> str:
    return f"{PREFIX}{revision:08}"


def _check_text(self, text: str) -> None:
    if type(text) is not str:
        raise self.error("bad_argument", "text is text")
    if len(text) > TEXT_CHARACTERS_MAX:
        raise self.error("too_long", f"text has at most {TEXT_CHARACTERS_MAX} characters")


def _check_number(self, name: str, value: int) -> None:
    if type(value) is not int or value < 0:
        raise self.error("bad_argument", f"{name} is a whole number from 0")


async def _newest(self) -> int:
    return await self.state_get("newest") or 0


async def _find(self, revision: int) -> dict:
    _check_number(self, "revision", revision)
    found = await self.state_get(_key_of(revision))
    if found is None:
        raise self.error("no_such_revision", f"{self.id} has no revision {revision}")
    return found


# Who has not seen the newest revision is told so, and nobody's work is overwritten.
async def _save(self, text: str, base_revision: int, restored_from: int | None = None) -> int:
    _check_number(self, "base_revision", base_revision)
    newest = await _newest(self)
    if base_revision != newest:
        message = f"{self.id} is at revision {newest}, not {base_revision}"
        raise self.error("conflict", message, {"newest": newest})
    revision = newest + 1
    saved = {"text": text, "author": self.caller, "saved_ms": self.now()}
    if restored_from is not None:
        saved["restored_from"] = restored_from
    await self.state_put("newest", revision)
    await self.state_put(_key_of(revision), saved)
    if revision > REVISIONS_MAX:
        await self.state_delete(_key_of(revision - REVISIONS_MAX))
    return revision


async def put(self, text: str, base_revision: int) -> int:
    _check_text(self, text)
    return await _save(self, text, base_revision)


async def get(self, revision: int | None = None) -> dict:
    if revision is None:
        revision = await _newest(self)
    found = await _find(self, revision)
    return {
        "revision": revision,
        "text": found["text"],
        "author": found["author"],
        "saved_ms": found["saved_ms"],
    }


# Makes an old revision the newest one; what came between stays.
async def restore(self, revision: int, base_revision: int) -> int:
    old = await _find(self, revision)
    return await _save(self, old["text"], base_revision, restored_from=revision)


# A page of revisions behind number `after`, oldest first, without their texts.
async def history(self, after: int | None = None) -> dict:
    if after is None:
        after = 0
    _check_number(self, "after", after)
    found = await self.scan(PREFIX, _key_of(after), PAGE_MAX + 1)
    revisions = []
    for key, saved in found[:PAGE_MAX]:
        line = {name: value for name, value in saved.items() if name != "text"}
        line["revision"] = int(key[len(PREFIX) :])
        revisions.append(line)
    return {"revisions": revisions, "more": len(found) > PAGE_MAX}
