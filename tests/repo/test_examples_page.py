"""The page of the application in four languages shows whole definitions, as they stand."""

from __future__ import annotations

import pytest

import tests.repo.checkout  # noqa: F401 - puts tools/ on the path

import examples_page  # isort: skip  (tools/ is put on the path by checkout)

TEXTS = {
    "lua": """-- Head.
local MAX <const> = 5

-- Says so.
function thing.say_it(self)
  if self then
    return 1
  end
end

local TABLE <const> = {
  one = {},
}

thing.same = thing.say_it
function thing.short(self) return 1 end
""",
    "python": '''"""Head."""

MAX = 5


# Says so.
async def say_it(self):
    if self:
        return 1

    return 2


TABLE = {
    "one": (),
}


def _short(self):
    return 1
''',
    "javascript": """// Head.

const MAX = 5;

// Says so.
export async function sayIt(self) {
  if (self) {
    return 1;
  }
}

const TABLE = {
  one: {},
};

export const short = (self) => 1;
""",
    "c": """/* Head. */
static int say_it(int self);

#define MAX 5

/* Says so,
** in two lines. */
static int say_it(int self) {
  if (self) {
    return 1;
  }
}

static const int TABLE[] = {
  1,
};

static int short(void) { return 1; }
""",
}
WHOLE = {
    "lua": ("-- Says so.", "end"),
    "python": ("# Says so.", "    return 2"),
    "javascript": ("// Says so.", "}"),
    "c": ("/* Says so,", "}"),
}
LANGUAGES = {language.folder: language for language in examples_page.LANGUAGES}


@pytest.mark.parametrize("name", TEXTS)
def test_a_definition_is_cut_from_its_comment_to_its_end(name: str) -> None:
    """Functions and tables whole, with the comment above them and nothing of their neighbours."""
    text, language = TEXTS[name], LANGUAGES[name]
    said = examples_page.cut(text, language, "say_it")
    assert said in text
    assert (said.splitlines()[0], said.splitlines()[-1]) == WHOLE[name]
    assert len(examples_page.cut(text, language, "TABLE").splitlines()) == 3
    assert "1" in examples_page.cut(text, language, "short")


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_not_there_cannot_be_shown(name: str) -> None:
    """A name that is only used, or is nowhere, is an error and not an empty block."""
    with pytest.raises(LookupError, match="0 definitions of nothing"):
        examples_page.cut(TEXTS[name], LANGUAGES[name], "nothing")


def test_a_definition_that_never_ends_is_an_error() -> None:
    """The rest of a file is not shown as if it were one function."""
    with pytest.raises(LookupError, match="does not end"):
        examples_page.cut("function a.b(self)\n  return 1\n", LANGUAGES["lua"], "b")
