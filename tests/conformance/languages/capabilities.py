"""What every language does, and where one cannot: the only place where languages may differ.

`CLAIMS` has the answer that the suite expects of everybody, `DEVIATIONS` what one language does
instead, with the reason. A deviation is not a fault that is left: it is inherent, as in a language
that has no integers. `docs/explanation/languages.md` is made of these tables by `make docs`.

Invariant: a deviation differs from its claim and belongs to a claim that exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One thing all languages do alike.

    Attributes:
        says: the claim, for the page.
        expects: what the suite compares with.
    """

    says: str
    expects: Any = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """What one language does instead, and why it cannot be otherwise."""

    does: Any
    says: str


REFUSED = "refused"
CANNOT = "cannot"

CLAIMS: dict[str, Claim] = {
    "argument_missing": Claim(says="an argument that is not given is null", expects=[1, None]),
    "argument_surplus": Claim(says="arguments too many are left out", expects=[1, 2]),
    "kind_of_whole_float": Claim(says="`1.0` is a float to the handler", expects="float"),
    "kind_of_bytes_that_are_text": Claim(
        says="bytes stay bytes, also those that are valid UTF-8", expects="bytes"
    ),
    "whole_float_returned": Claim(says="`1.0` comes back as a float", expects=float),
    "minus_zero_returned": Claim(says="`-0.0` comes back as it is", expects="-0.0"),
    "text_bytes_returned": Claim(says="and come back as bytes", expects=bytes),
    "make_nan": Claim(says="NaN is refused at the border", expects=REFUSED),
    "make_infinity": Claim(says="infinity is refused at the border", expects=REFUSED),
    "make_minus_infinity": Claim(says="minus infinity is refused at the border", expects=REFUSED),
    "make_beyond_int": Claim(says="an integer of more than 64 bits is refused", expects=REFUSED),
    "make_lone_surrogate": Claim(says="text with half a character is refused", expects=REFUSED),
    "make_cycle": Claim(says="a list that contains itself is refused", expects=REFUSED),
    "make_function": Claim(says="a function is refused", expects=REFUSED),
    "make_number_key": Claim(says="a map key that is no text is refused", expects=REFUSED),
    "nesting": Claim(says="a value nests 64 deep, both ways"),
    "unchanged_is_not_written": Claim(says="a value edited and put back as it was is not written"),
    "share_then_edit": Claim(
        says="one value put under two keys: an edit in a later run changes one of them"
    ),
    "timers_at_once": Claim(says="`timers` gives all of an entity's timers in one list"),
    "big_values": Claim(says="big values are read and written in pieces"),
    "log_print": Claim(says="the language's own `print` is a log line", expects="info"),
    "error_line": Claim(says="the traceback names file and line of an error"),
    "error_data": Claim(says="an error carries data of its own"),
    "same_fuel": Claim(says="the same run burns the same fuel"),
    "has_workers": Claim(
        says="guests run inside the node, so no other process can be killed under one",
        expects=False,
    ),
    "bombs_refused_at_deploy": Claim(
        says="hostile code is taken at deploy, and ended when it runs", expects=False
    ),
    "has_randomness": Claim(says="the language has randomness, from the run's seed"),
    "fuel_small": Claim(
        says="fuel with which a run begins and an endless one soon ends", expects=20_000_000
    ),
    "end_by_memory": Claim(
        says="memory without end is refused, and ends the run", expects=("guest.out_of_memory",)
    ),
    "end_by_memory_caught": Claim(
        says="who swallows each refusal of memory goes on until a limit ends it",
        expects=("guest.out_of_fuel", "guest.out_of_memory"),
    ),
    "end_by_recursion": Claim(
        says="recursion without end is an error or a trap",
        expects=("guest.raised", "guest.trapped"),
    ),
    "spin_long": Claim(
        says="rounds of arithmetic that take longer than a run's first slices", expects=500_000
    ),
    "memory_small_bytes": Claim(says="a run fits into 4 MiB of memory", expects=4 << 20),
    "bump": Claim(says="things that could outlive a run, tried: at least", expects=1),
    "clocks": Claim(says="clocks of the language, tried: at least", expects=0),
    "top_level_code": Claim(
        says="a module's own code runs when it is loaded, under the limits of a deploy"
    ),
}

DEVIATIONS: dict[str, dict[str, Deviation]] = {
    "lua": {
        "timers_at_once": Deviation(
            does=False, says="256 at a time, and as a second result whether there are more"
        ),
        "kind_of_bytes_that_are_text": Deviation(
            does="text", says="Lua has one kind of string; what is valid UTF-8 is text"
        ),
        "text_bytes_returned": Deviation(
            does=str, says="as above; `lithox.bytes(s)` says that a string is bytes"
        ),
        "make_beyond_int": Deviation(
            does=CANNOT, says="Lua's integers have 64 bits and wrap around"
        ),
        "make_lone_surrogate": Deviation(
            does=CANNOT, says="what is not valid UTF-8 is bytes, and half a character is not"
        ),
    },
    "python": {
        "argument_missing": Deviation(
            does="guest.raised", says="a TypeError, as of any function; give it a default"
        ),
        "argument_surplus": Deviation(
            does="guest.raised", says="a TypeError, as above; `*_` takes what is left over"
        ),
        "same_fuel": Deviation(
            does=False, says="fuel is the worker's processor time, which differs from run to run"
        ),
        "make_lone_surrogate": Deviation(
            does=CANNOT, says="the worker's text is UTF-8: half a character becomes U+FFFD"
        ),
        "has_workers": Deviation(
            does=True,
            says="handlers run in worker processes; a worker that dies ends its run alone",
        ),
        "bombs_refused_at_deploy": Deviation(
            does=True, says="what the interpreter does not know is refused at deploy, with the line"
        ),
    },
    "javascript": {
        "kind_of_whole_float": Deviation(
            does="int", says="JavaScript has one kind of number: `1.0` is 1"
        ),
        "whole_float_returned": Deviation(
            does=int, says="as above; a float that is only looked at stays what it was"
        ),
        "make_number_key": Deviation(does=CANNOT, says="keys of objects are always text"),
    },
    "c": {
        "spin_long": Deviation(does=20_000_000, says="C computes that much faster"),
        "make_beyond_int": Deviation(does=CANNOT, says="C's integers here have 64 bits"),
        "make_function": Deviation(does=CANNOT, says="the SDK has no value for a function"),
        "make_number_key": Deviation(does=CANNOT, says="keys of the SDK's maps are text"),
        "log_print": Deviation(does=None, says="C has no `print` without a library; `lx_log` is"),
        "top_level_code": Deviation(
            does=False, says="its start function; tried in tests/conformance/wasm"
        ),
    },
    "component": {
        "timers_at_once": Deviation(
            does=False, says="the SDK gives 256 at a time, and whether there are more"
        ),
        "top_level_code": Deviation(
            does=False, says="run when it is built; tried in tests/conformance/component"
        ),
        "error_line": Deviation(
            does=False,
            says="a component is no text; the traceback names the Python file and line, "
            "tried in tests/conformance/component",
        ),
        "memory_small_bytes": Deviation(
            does=32 << 20, says="CPython begins with 14 MiB; a component in C fits into 4 MiB"
        ),
    },
}


def expected(language: str, claim: str) -> Any:
    """Returns what `language` does about `claim`."""
    default = CLAIMS[claim].expects
    deviation = DEVIATIONS[language].get(claim)
    return default if deviation is None else deviation.does
