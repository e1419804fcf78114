"""Writes docs/tutorial/one-application-four-languages.md: parts of examples/languages, cut out.

What the page shows of a file is taken from that file when the page is written, by the name of a
function or constant and with the comment above it, so it cannot show code that does not run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from places import ROOT

PAGE = ROOT / "docs" / "tutorial" / "one-application-four-languages.md"
FOLDER: Final = ROOT / "examples" / "languages"


class Language(NamedTuple):
    """How definitions look in one language.

    Attributes:
        title: what people call it.
        folder: below examples/languages; also the marker of a block of code.
        suffix: of its files.
        begins: expression for the first line of a definition; NAME stands for its name.
        whole: expression for a first line that is the last one, too.
        ends: expression for the last line, or None: before the next line that is not indented.
        comments: how a line of a comment begins.
    """

    title: str
    folder: str
    suffix: str
    begins: str
    whole: str
    ends: str | None
    comments: tuple[str, ...]


LANGUAGES: Final = (
    Language(
        "Lua",
        "lua",
        ".lua",
        r"(local )?function (\w+\.)?NAME\(|local NAME <const> =|\w+\.NAME =",
        r".* end$|\w+\.\w+ = [\w.]+$",
        r"(end|\})$",
        ("--",),
    ),
    Language(
        "Python",
        "python",
        ".py",
        r"(async )?def _?NAME\(|_?NAME(: [\w\[\], ]+)? = ",
        r".*[^:\[({,]$",
        None,
        ("#",),
    ),
    Language(
        "JavaScript",
        "javascript",
        ".js",
        r"(export )?(async )?function NAME\(|(export )?const NAME = ",
        r".*;$",
        r"[\])}]+;?$",
        ("//",),
    ),
    Language(
        "C",
        "c",
        ".c",
        r"(?!.*;$)[\w *]*\bNAME(\[\])?(\(| =)|LX_HANDLER\(NAME\)",
        r".*\}$",
        r"\};?$",
        ("/*", "**", " *", "//"),
    ),
)


def camel(name: str) -> str:
    """Returns a name of several words as JavaScript writes it; constants stay."""
    if name.isupper():
        return name
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def cut(text: str, language: Language, name: str) -> str:
    """Returns the definition of `name` and the comment above it.

    Raises:
        LookupError: there is no such definition, or it does not end.
    """
    wanted = camel(name) if language.folder == "javascript" else name
    begins = re.compile(language.begins.replace("NAME", re.escape(wanted)))
    lines = text.splitlines()
    found = [number for number, line in enumerate(lines) if begins.match(line)]
    if len(found) != 1:
        raise LookupError(f"{language.title}: {len(found)} definitions of {wanted}")
    first = found[0]
    last = _last_line(lines, first, language)
    while first > 0 and lines[first - 1].startswith(language.comments):
        first -= 1
    return "\n".join(lines[first : last + 1]).rstrip()


def _last_line(lines: list[str], first: int, language: Language) -> int:
    """Returns where the definition that begins in line `first` ends; raises LookupError."""
    if re.match(language.whole, lines[first]):
        return first
    rest = range(first + 1, len(lines))
    if language.ends is None:
        outside = (at for at in rest if not re.match(r"[\s)\]}]|$", lines[at]))
        return next(outside, len(lines)) - 1
    for at in rest:
        if re.match(language.ends, lines[at]):
            return at
    raise LookupError(f"{language.title}: {lines[first]} does not end")


def shown(part: str, *names: str) -> str:
    """Returns one block for each language with the definitions `names` of `part`, in order.

    A name that a language does not have, because it has something of its own for it, is left out
    there; one that no language has is an error.
    """
    blocks: list[str] = []
    missing = dict.fromkeys(names, 0)
    for language in LANGUAGES:
        path = FOLDER / language.folder / f"{part}{language.suffix}"
        text = path.read_text("utf-8")
        pieces: list[str] = []
        for name in names:
            try:
                pieces.append(cut(text, language, name))
            except LookupError:
                missing[name] += 1
        link = _link(path)
        body = ("\n\n\n" if language.folder == "python" else "\n\n").join(pieces)
        blocks.append(f"{language.title}, {link}:\n\n```{language.folder}\n{body}\n```\n")
    lost = [name for name, count in missing.items() if count == len(LANGUAGES)]
    if lost:
        raise LookupError(f"no language has {', '.join(lost)} in {part}")
    return "\n".join(blocks)


def _link(path: Path) -> str:
    inside = path.relative_to(ROOT).as_posix()
    return f"[`{inside}`](../../{inside})"


_IDIOMS: Final = (
    ("", "Lua", "Python", "JavaScript", "C"),
    ("---",) * 5,
    (
        "a handler",
        "function of the returned table",
        "function",
        "exported function",
        "`LX_HANDLER(name)`",
    ),
    ("a helper", "`local`", "begins with `_`", "not exported", "`static`"),
    (
        "state",
        "`self.state.key`",
        '`self.state["key"]`, `await self.state_get(key)`',
        "`self.state.key`",
        "`lx_get(key)`, `lx_put(key, value)`",
    ),
    ("a change deep inside", "is written", "is written", "is written", "is put"),
    (
        "an error with a code",
        "`error({code = …})`",
        "`raise self.error(…)`",
        "`throw new LithoxError(…)`",
        "`return lx_fail_with(…)`",
    ),
    ("another entity", "`self:call(…)`", "`await self.call(…)`", "`self.call(…)`", "`lx_call(…)`"),
)

_HEAD: Final = """\
<!-- Generated by `make docs` from examples/languages/; do not edit. -->
# One application, four languages

[examples/languages](../../examples/languages/README.md) has the same application in Lua, Python,
JavaScript and C: a rate limiter, documents with revisions, and orders with their stock. One suite
runs against all four, and a state written by one is read by the others. Each folder's page has
commands to try it: [Lua](../../examples/languages/lua/README.md),
[Python](../../examples/languages/python/README.md),
[JavaScript](../../examples/languages/javascript/README.md),
[C](../../examples/languages/c/README.md).

This page shows the parts that say most. What is *not* in them is the point: no locks, no retries,
no rollback, no queue, no deduplication table. A handler that ends with an error leaves nothing.

{idioms}

[Languages](../explanation/languages.md) says what else differs, and what each costs.
"""


class Part(NamedTuple):
    """One section: its words, and the definitions that are shown of a file."""

    title: str
    words: str
    file: str
    names: tuple[str, ...]


_PARTS: Final = (
    Part(
        "State: a rate limiter",
        """An entity's state is a map. The limiter keeps one value in it, and writes it only when
somebody was let through: who is refused has only read, and reads do not disturb one another.""",
        "limiter",
        ("level_of", "take"),
    ),
    Part(
        "An error with a code: a document",
        """Two people edit one text. Who has not seen the newest revision gets an error with the
code `app.conflict` and, in its data, the newest number. The check and the save are one
transaction, so of two who save at once one is told.""",
        "document",
        ("save",),
    ),
    Part(
        "A scan in pages",
        """Keys are ordered as text. A page begins behind a key and costs what it holds, however
many keys there are before and behind it.""",
        "document",
        ("history",),
    ),
    Part(
        "A state machine: an order",
        "The table is all there is to say about which event leads where.",
        "order",
        ("MOVES",),
    ),
    Part(
        "One step of it",
        """A step changes the order, the stock of the item (a call that joins the transaction), the
payment's timer and the customer's notices (a message that leaves with the commit): all of them or
none. A step that was asked for twice under one request id is made once.""",
        "order",
        ("move",),
    ),
    Part(
        "A timer",
        """Creating an order arms its timer. When nobody has paid by then, the node calls `expire`,
also if it was down at that moment. A timer's call comes from the entity itself, which is how the
handler knows that nobody else has called it.""",
        "order",
        ("create", "expire"),
    ),
)


def page() -> str:
    """Returns the whole page."""
    sections = [
        f"## {part.title}\n\n{part.words}\n\n{shown(part.file, *part.names)}" for part in _PARTS
    ]
    idioms = "\n".join(f"| {' | '.join(row)} |" for row in _IDIOMS)
    return "\n".join([_HEAD.replace("{idioms}", idioms), *sections])
