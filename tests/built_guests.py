"""The built guests, for tests that open the real engines: made when missing, never skipped.

`make test` has built them before the first test; whoever calls pytest alone on a fresh checkout
gets them here, by the build script's own function.
"""

from __future__ import annotations

from functools import cache

import pytest

from guests import build
from lithox.sandbox import engines as languages


@cache
def require() -> None:
    """Has every guest built that lithox opens; fails the test where that cannot be.

    Blocks: some milliseconds once a process; about two minutes where nothing is built yet.
    """
    try:
        build.build()
    except build.BuildError as error:
        pytest.fail(f"the guests cannot be built: {error}", pytrace=False)
    wanted = (languages.LUA_WASM_PATH, languages.JAVASCRIPT_WASM_PATH)
    for path in (*wanted, *languages.PROGRAM_WASM_PATHS.values()):
        if not path.is_file():
            pytest.fail(
                f"{path} is missing though {build.OUTPUTS} is built: the lithox that is tested is "
                "another than the one beside the tests; install this one (make test does)",
                pytrace=False,
            )
