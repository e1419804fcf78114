"""What a request does when nothing else happens: scripts run one at a time over plain dictionaries.

This is the oracle of the whole-node simulations. It knows nothing of snapshots, versions,
savepoints or quanta: a handler runs to its end, a failed call takes back what it wrote, and that is
all. If the node's commits, taken in version order, do what this does, they are serializable in that
order.

Invariants: a handler that is checked here depends on its arguments and on state only, not on its
attempt, its time or its own chance; states given are not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lithox.dispatch.job import derive_id
from lithox.dispatch.outcomes import APP_CODE
from lithox.dispatch.schedules.records import schedules_of
from lithox.model.ids import EntityPath, identity_of_entity
from lithox.model.values import decode_value, encode_value
from lithox.testing.script import Action, Module, Refused, ScriptedSelf, ScriptError

Cell = tuple[str, str]
FindState = Callable[[str], Mapping[str, Any]]
"""Returns the user's keys and plain values of an entity."""
STEPS_MAX: Final = 10_000
"""Actions of one request; more is a loop in the script."""


@dataclass(slots=True, kw_only=True)
class Sent:
    """A message of a run: who sent what to whom."""

    sender: str
    receiver: str
    handler: str
    args: list[Any]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a request came to.

    Attributes:
        value: what the handler returned; None after an error.
        error: the code of its error, "" when it succeeded.
        writes: cell -> plain value, None for a deletion; empty after an error. Timers are cells
            of the system entity that holds them, without their times.
        touched: entities that took part; the outcome depends on no other.
        sent: messages in the order of sending; empty after an error.
        has_requested: it made a request of its own.
    """

    value: Any = None
    error: str = ""
    writes: dict[Cell, Any] = field(default_factory=dict[Cell, Any])
    touched: set[str] = field(default_factory=set[str])
    sent: list[Sent] = field(default_factory=list[Sent])
    has_requested: bool = False


def plain(value: Any) -> Any:
    """Returns `value` as it comes out of the store: tuples are lists, nothing is shared."""
    return decode_value(encode_value(value))


@dataclass(slots=True, kw_only=True)
class Requests:
    """What a run's own requests came to: they are committed before it, each by itself.

    Attributes:
        run_id: what their ids are derived from.
        values: request id -> value of every one that is committed.
    """

    run_id: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


class SerialModel:
    """Runs requests of the published modules.

    Args:
        find_module: returns the module that serves an entity, or None.
    """

    def __init__(self, find_module: Callable[[str], Module | None]) -> None:
        self.find_module = find_module

    def run(self, state: FindState, entity: str, handler: str, args: list[Any]) -> Outcome:
        """Returns what the request does to `state` when it runs alone."""
        return self.run_all(state, [(entity, handler, args)], is_list=False)

    def run_all(
        self,
        state: FindState,
        calls: list[tuple[str, str, list[Any]]],
        *,
        is_list: bool = True,
        requests: Requests | None = None,
        taken: Cell | None = None,
    ) -> Outcome:
        """Returns what calls that commit together do: the list of their values, or one error.

        `taken` is the timer whose call this is: it goes before the handler begins.
        """
        outcome = Outcome()
        if taken is not None:
            outcome.writes[taken] = None
        serial = _SerialRun(self, state, outcome, requests or Requests())
        values: list[Any] = []
        try:
            for entity, handler, args in calls:
                values.append(serial.call(entity, handler, args))
        except ScriptError as error:
            outcome.error = error.code
            outcome.writes, outcome.sent = {}, []
            return outcome
        outcome.value = values if is_list else values[0]
        return outcome


class _SerialRun:
    """One request under way."""

    def __init__(
        self, model: SerialModel, state: FindState, outcome: Outcome, requests: Requests
    ) -> None:
        self._model = model
        self._state = state
        self._outcome = outcome
        self._requests = requests
        self._position = 0
        self._steps = 0

    def call(self, entity: str, handler: str, args: list[Any]) -> Any:
        """Runs a handler; raises ScriptError with its system code when it fails."""
        outcome = self._outcome
        outcome.touched.add(entity)
        module = self._model.find_module(entity)
        if module is None or handler not in module:
            raise Refused(1, "request.not_found", "there is no such handler", {})
        writes, sent = dict(outcome.writes), len(outcome.sent)
        try:
            return self._follow(entity, module[handler], args)
        except Exception as error:
            outcome.writes = writes
            del outcome.sent[sent:]
            if isinstance(error, AssertionError):
                raise
            raise Refused(1, _code_of(error), str(error), {}) from None

    def _follow(self, entity: str, handler: Callable[..., Any], args: list[Any]) -> Any:
        own = ScriptedSelf(entity=entity, caller="", request_id=None, attempt=1, now_ms=0, seed=0)
        script = handler(own, *plain(args))
        result: Any = None
        refused: Refused | None = None
        while True:
            self._steps += 1
            assert self._steps <= STEPS_MAX, "a script of a workload does not end"
            try:
                action = script.send(result) if refused is None else script.throw(refused)
            except StopIteration as stop:
                return plain(stop.value)
            result, refused = None, None
            try:
                result = self._act(entity, action)
            except Refused as error:
                refused = error

    def _act(self, entity: str, action: Action) -> Any:
        outcome = self._outcome
        match action:
            case ("burn", _) | ("log", *_):
                return None
            case ("get", str(key)):
                cell = (entity, key)
                found = outcome.writes[cell] if cell in outcome.writes else self._find(*cell)
                return plain(found)
            case ("set", str(key), value):
                outcome.writes[(entity, key)] = plain(value)
                return None
            case ("scan", str(prefix)):
                return self._scan(entity, prefix)
            case ("call", str(callee), str(handler), *args):
                return self.call(callee, handler, args)
            case ("ask", "send", str(receiver), str(handler), rest):
                message = Sent(sender=entity, receiver=receiver, handler=handler, args=plain(rest))
                outcome.sent.append(message)
                self._position += 1
                return [""]
            case ("ask", "schedule", {"name": str(name), "handler": handler} as spec):
                timer = {"handler": handler, "args": spec["args"], "every": spec.get("every", 0)}
                outcome.writes[(schedules_of(entity), name)] = plain(timer)
                self._position += 1
                return [name]
            case ("ask", "cancel", str(name)):
                return [self._cancel(schedules_of(entity), name)]
            case ("ask", "request", str(callee), str(handler), rest):
                return [self._request(entity, callee, handler, rest)]
            case ("trap", str(detail)):
                raise _TrappedError(detail)
            case _:
                raise AssertionError(f"the serial model knows no action {action!r}")

    def _request(self, entity: str, callee: str, handler: str, args: list[Any]) -> Any:
        """Returns what a request of the run's own came to, raises Refused when it failed."""
        self._outcome.has_requested = True
        request_id = derive_id(
            "q.", identity_of_entity(EntityPath(entity)), self._requests.run_id, str(self._position)
        )
        self._position += 1
        if request_id in self._requests.values:
            return plain(self._requests.values[request_id])
        alone = self._model.run(self._state, callee, handler, args)
        raise Refused(1, alone.error or "unrecorded", "the request is not on the disk", {})

    def _cancel(self, place: str, name: str) -> bool:
        writes = self._outcome.writes
        self._outcome.touched.add(place)
        found = writes[(place, name)] if (place, name) in writes else self._find(place, name)
        if found is not None:
            writes[(place, name)] = None
        return found is not None

    def _find(self, entity: str, key: str) -> Any:
        return self._state(entity).get(key)

    def _scan(self, entity: str, prefix: str) -> list[list[Any]]:
        found = dict(self._state(entity))
        for (owner, key), value in self._outcome.writes.items():
            if owner == entity:
                found[key] = value
        keys = sorted(k for k, v in found.items() if k.startswith(prefix) and v is not None)
        return [[key, plain(found[key])] for key in keys]


class _TrappedError(Exception):
    """A script ended as a wasm trap does; its own code cannot catch that."""


def _code_of(error: Exception) -> str:
    """Returns the code under which a caller sees what a handler raised."""
    if isinstance(error, _TrappedError):
        return "guest.trapped"
    own = error.code.removeprefix("app.") if isinstance(error, ScriptError) else ""
    return f"app.{own}" if APP_CODE.match(own) else "guest.raised"
