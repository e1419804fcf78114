"""What an end means to the caller: steps, outcomes and kernel codes turned into errors.

Pure translations; messages say which limit was hit, what was used and what was allowed.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

from lithox.dispatch.job import Frame
from lithox.errors import (
    BadArguments,
    Cancelled,
    DeadlinePassed,
    GuestProtocolError,
    GuestRaised,
    GuestTrapped,
    LimitExceeded,
    LithoxError,
    rebuild,
)
from lithox.model.limits import Limits
from lithox.model.quantities import format_duration, format_size
from lithox.model.values import decode_value
from lithox.sandbox import messages
from lithox.sandbox.contract import Guest, Step

APP_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def error_of_step(where: str, limits: Limits, guest: Guest | None, step: Step) -> LithoxError:
    """Returns the error of a guest that was stopped from outside.

    Args:
        where: who it was, for the message.
        limits: what it was allowed.
    """
    code = step.code
    if code == "guest.out_of_fuel":
        used = 0 if guest is None else guest.fuel_used
        return LimitExceeded(
            f"{where} used up its fuel of {limits.fuel}",
            limit="fuel",
            used=used,
            allowed=limits.fuel,
        )
    if code == "guest.out_of_memory":
        allowed = limits.memory_bytes or 0
        if guest is not None and guest.fuel_used == 0 and guest.memory_bytes > allowed:
            return LimitExceeded(
                f"{where} cannot begin: its module alone takes {format_size(guest.memory_bytes)} "
                f"of memory, and {format_size(allowed)} are allowed; give its template more "
                "`memory`, or split the module",
                limit="memory",
                used=guest.memory_bytes,
                allowed=allowed,
            )
        return LimitExceeded(
            f"{where} needs more than its memory of {format_size(allowed)}",
            limit="memory",
            used=allowed,
            allowed=allowed,
        )
    if code == "guest.out_of_output":
        allowed = limits.output_bytes or 0
        return LimitExceeded(
            f"{where} puts out more than its {format_size(allowed)}: {step.detail}",
            limit="output",
            used=allowed,
            allowed=limits.output_bytes,
        )
    if code == "guest.out_of_calls":
        return LimitExceeded(
            f"{where} made more than its {limits.calls} system calls",
            limit="calls",
            used=limits.calls,
            allowed=limits.calls,
        )
    if code == "guest.protocol":
        return GuestProtocolError(f"{where}: {step.detail}")
    return GuestTrapped(f"{where} was stopped: {step.detail or code}", trap=step.detail or code)


def error_of_end(frame: Frame, code: str) -> LithoxError:
    """Returns the error of a process the kernel ended."""
    where = f"{frame.entity}:{frame.handler}"
    if code == "guest.out_of_wall":
        wall_ns = frame.limits.wall_ns or 0
        return LimitExceeded(
            f"{where} took longer than its {format_duration(wall_ns)}",
            limit="wall",
            used=wall_ns // 1_000_000,
            allowed=wall_ns // 1_000_000,
        )
    if code == "request.deadline_passed":
        return DeadlinePassed(f"the caller's deadline passed before {where} had ended")
    if code == "request.cancelled":
        return Cancelled(f"{where} was ended by an operator")
    error = rebuild(code, {"message": f"{where} was ended: {code}"})
    return error if isinstance(error, LithoxError) else GuestTrapped(f"{where} was ended: {code}")


def error_of_outcome(outcome: messages.OutcomeMessage) -> LithoxError:
    """Returns the error a handler raised.

    Its own `code` becomes `app.<code>`, and so does the code of a refusal the handler did not
    catch (`app.request.not_found`), since only the node may speak its codes. A code that does
    not fit `APP_CODE` is dropped.
    """
    try:
        error = messages.decode_error(outcome.body)
        said = None if error.data == messages.NIL else decode_value(bytes(error.data))
    except (GuestProtocolError, BadArguments) as problem:
        return GuestProtocolError(f"the guest's error cannot be read: {problem.message}")
    fields: dict[str, Any] = {}
    if error.traceback:
        fields["traceback"] = error.traceback
    if isinstance(said, dict):
        held = cast("dict[str, Any]", said)
        said = {key: item for key, item in held.items() if key not in {"code", "message"}}
    if said:
        fields["data"] = said
    # A callee's error that its caller lets through keeps its code: one `app.` is enough.
    own = error.code.removeprefix("app.")
    code = f"app.{own}" if APP_CODE.match(own) else None
    return GuestRaised(error.message or "the handler raised an error", code=code, **fields)
