"""Programs, libraries and runtimes: what may be their name and their text.

Three flat name spaces, one for each kind. A text is bytes: which language it is written in is
the matter of the runtime that will run it, so nothing here reads it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from lithox.errors import BadArguments, TooLarge
from lithox.model.ids import Digest

PROGRAM: Final = "program"
LIBRARY: Final = "library"
RUNTIME: Final = "runtime"
KINDS: Final = (PROGRAM, LIBRARY, RUNTIME)
TEXT_BYTES_MAX: Final = 1 << 20
"""One program, library or runtime; as much as one source of a deploy."""
NOTE_CHARACTERS_MAX: Final = 1_000
VERSION_MAX: Final = (1 << 53) - 1
"""The largest whole number every version of Lua has."""
_NAME: Final = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}\Z")


def check_kind(kind: Any) -> str:
    """Returns `kind`; raises BadArguments unless it is one of `KINDS`."""
    if kind not in KINDS:
        raise BadArguments(f"a store is one of {', '.join(KINDS)}; found {kind!r:.80}")
    return kind


def check_code_name(name: Any, what: str = "name") -> str:
    """Returns `name`; raises BadArguments unless it names a program, library or runtime.

    The pattern leaves no room for `/`, `#` or `..`: a name is never a path, and `cc#name` on a
    command line can be read in one way only.
    """
    if not isinstance(name, str) or _NAME.match(name) is None:
        raise BadArguments(
            f"{what}: is 1-128 of [A-Za-z0-9._-] and does not begin with a dot; found {name!r:.80}"
        )
    return name


def check_code_text(text: Any) -> bytes:
    """Returns `text` (bytes, or text as UTF-8) as bytes.

    Raises:
        BadArguments: neither of them, or text with a lone surrogate.
        TooLarge: more than `TEXT_BYTES_MAX` bytes.
    """
    if isinstance(text, str):
        try:
            text = text.encode()
        except UnicodeEncodeError:
            raise BadArguments("the text has a lone surrogate; give it as bytes") from None
    if not isinstance(text, bytes):
        raise BadArguments(f"a text is text or bytes; found {type(text).__name__}")
    if len(text) > TEXT_BYTES_MAX:
        raise TooLarge(
            f"a program, library or runtime has at most {TEXT_BYTES_MAX} bytes; found {len(text)}",
            allowed=TEXT_BYTES_MAX,
            used=len(text),
        )
    return text


def check_note(note: Any) -> str:
    """Returns `note`, "" for None; raises BadArguments unless it is a short text."""
    if note is None:
        return ""
    if not isinstance(note, str) or len(note) > NOTE_CHARACTERS_MAX:
        raise BadArguments(f"a note is a text of at most {NOTE_CHARACTERS_MAX} characters")
    try:
        note.encode()
    except UnicodeEncodeError:
        raise BadArguments("the note has a lone surrogate") from None
    return note


def check_version(version: Any) -> int:
    """Returns `version`; raises BadArguments unless it is a number a version may have."""
    if type(version) is not int or not 0 <= version <= VERSION_MAX:
        raise BadArguments(f"a version is a whole number from 0; found {version!r:.80}")
    return version


def digest_of_text(text: bytes) -> Digest:
    """Returns the SHA-256 of `text`, as `sha256sum` prints it."""
    return Digest(hashlib.sha256(text).hexdigest())
