"""A language engine whose programs are Python generators: a guest without WebAssembly.

`ScriptedEngine` fills `sandbox.contract.Engine`, so everything above the sandbox can be tested and
simulated with exact, repeatable fuel and on one thread. Modules are published in a registry
instead of compiled: a `Source` names its module by its digest.

Invariants: a guest burns exactly its limit before it ends as out of fuel; a step burns at most its
quantum; the messages are those of `sandbox.messages`, byte for byte what a real guest sends, so a
dispatcher cannot tell the two apart. A script's AssertionError is the test's own failure and
passes through. It is long because the engine, its programs and their guests are one small thing.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Protocol

import msgspec

from lithox.errors import CompileFailed, InternalError, Overloaded
from lithox.model.limits import Limits
from lithox.model.values import decode_state, decode_value, encode_value
from lithox.sandbox import messages
from lithox.sandbox.contract import Program, Source, Step, StepKind
from lithox.testing.script import ACTION_FUEL, Action, Module, Refused, ScriptedSelf, ScriptError
from lithox.testing.scripted_calls import answer_of, question_of

LANGUAGE: Final = "scripted"
MEMORY_BYTES: Final = 64 << 10
"""Memory a scripted guest begins with: one page of WebAssembly."""
SCAN_PAGE: Final = 100
FUEL_FOREVER: Final = 1 << 62

_run_decoder: Final = msgspec.msgpack.Decoder(messages.RunMessage)
_answer_decoder: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_page_decoder: Final = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]])
_encoder: Final = msgspec.msgpack.Encoder()


class Burning(Protocol):
    """A clock whose time guests use up; `FakeClock` is one."""

    def burn(self, duration_ns: int) -> None: ...


class ScriptedEngine:
    """The registry and counters of a scripted language.

    Args:
        clock: burns `fuel / fuel_per_us` of it while a guest steps; None leaves time alone.
        fuel_per_us: how fast the scripted processor is.
        guests_max: live guests beyond which `start` raises Overloaded.
    """

    language = LANGUAGE

    def __init__(
        self, *, clock: Burning | None = None, fuel_per_us: int = 4_000, guests_max: int = 100_000
    ) -> None:
        self.guests_live = 0
        self.guests_started = 0
        self.guests_max = guests_max
        self._clock = clock
        self._fuel_per_us = fuel_per_us
        self._modules: dict[str, tuple[str, Module]] = {}
        self._programs: dict[str, ScriptedProgram] = {}

    def publish(self, name: str, module: Module) -> Source:
        """Makes `module` loadable; returns the source to deploy, the same for the same name."""
        text = f"scripted module {name}\n".encode()
        digest = hashlib.sha256(LANGUAGE.encode() + b"\0" + text).hexdigest()
        self._modules[digest] = (name, module)
        self._programs.pop(digest, None)
        return Source(language=LANGUAGE, name=name, text=text, digest=digest)

    def find(self, digest: str) -> Program | None:
        """Returns a program that is loaded already, or None."""
        return self._programs.get(digest)

    def prepare(self, source: Source) -> None:
        """Has nothing to do: nothing is compiled."""

    def load(self, source: Source, limits: Limits) -> Program:
        """Returns the program of a published module; raises CompileFailed for any other source."""
        del limits
        # The text counts, not the caller's digest: a dispatcher may name digests its own way.
        wanted = hashlib.sha256(LANGUAGE.encode() + b"\0" + source.text).hexdigest()
        if wanted not in self._modules:
            raise CompileFailed(
                f"{source.name} is not a published scripted module", file=source.name
            )
        program = self._programs[source.digest] = ScriptedProgram(self, self._modules[wanted][1])
        return program

    def statistics(self) -> dict[str, Any]:
        """Returns counts of live and started guests and of loaded programs."""
        return {
            "guests_live": self.guests_live,
            "guests_started": self.guests_started,
            "programs": len(self._programs),
        }

    def close(self) -> None:
        """Forgets all programs; raises InternalError when a guest was not closed."""
        self._programs.clear()
        if self.guests_live:
            raise InternalError(f"{self.guests_live} guests were not closed")

    def pass_time(self, fuel: int) -> None:
        """Burns the clock's time for `fuel`."""
        if self._clock is not None and fuel:
            self._clock.burn(fuel * 1000 // self._fuel_per_us)


class ScriptedProgram:
    """A published module, ready to run."""

    def __init__(self, engine: ScriptedEngine, module: Module) -> None:
        self.engine = engine
        self.module = module
        self.handler_names = tuple(sorted(name for name in module if not name.startswith("_")))

    def start(self, message: bytes, limits: Limits) -> ScriptedGuest:
        """Returns a guest; raises Overloaded beyond the engine's `guests_max`."""
        engine = self.engine
        if engine.guests_live >= engine.guests_max:
            raise Overloaded(
                f"the node holds {engine.guests_live} guests and can hold no more; try later",
                retry_after_ms=100,
            )
        guest = ScriptedGuest(self, message, limits)
        engine.guests_live += 1
        engine.guests_started += 1
        return guest


class ScriptedGuest:
    """One run of a scripted handler; fills `sandbox.contract.Guest`."""

    def __init__(self, program: ScriptedProgram, message: bytes, limits: Limits) -> None:
        run = _run_decoder.decode(message)
        self.fuel_used = 0
        self.memory_bytes = MEMORY_BYTES
        self.is_closed = False
        self._engine = program.engine
        self._limits = limits
        self.calls = 0
        self._state = {key: bytes(value) for key, value in run.state.items()}
        self._is_complete = run.complete
        self._reads: dict[str, None] = {}
        self._scans: dict[str, None] = {}
        self._writes: dict[str, bytes] = {}
        self._is_asking = False
        self._asked: Action = ()
        self._answer: bytes | None = None
        self._pages: list[tuple[str, Any]] = []
        self._is_over = False
        self._burning = 0
        self._action: Action | None = None
        self._result: Any = None
        self._raised: Refused | None = None
        args = decode_value(bytes(run.args))
        own = ScriptedSelf(
            entity=run.entity,
            caller=run.caller,
            request_id=run.request_id,
            attempt=run.attempt,
            now_ms=run.now_ms,
            seed=run.seed,
        )
        handler = program.module.get(run.handler)
        self._script = None if handler is None else handler(own, *args)
        self._handler = run.handler

    def step(self, quantum_fuel: int, *, frees_lock: bool) -> Step:
        """Runs until the script yields by quantum, asks, finishes or ends."""
        del frees_lock
        if self._is_closed_or_over() or (self._is_asking and self._answer is None):
            raise InternalError("a guest was stepped that is over, or waits for its answer")
        before = self.fuel_used
        step = self._run(quantum_fuel)
        self._is_over = step.kind in {StepKind.FINISHED, StepKind.ENDED}
        self._engine.pass_time(self.fuel_used - before)
        return step

    def answer(self, message: bytes) -> None:
        """Gives the answer to the system call it asked."""
        if not self._is_asking or self._answer is not None or self.is_closed:
            raise InternalError("an answer came to a guest that has not asked")
        self._answer = message

    def charge(self, fuel: int, calls: int) -> None:
        """Burns fuel and calls of its allowance on behalf of a callee."""
        self.calls += calls
        self.fuel_used = min(self.fuel_used + fuel, self._fuel_max())

    def credit(self, fuel: int, calls: int) -> None:
        """Gives back what `charge` took and nobody has used."""
        self.calls = max(0, self.calls - calls)
        self.fuel_used = max(0, self.fuel_used - fuel)

    def bound_memory(self, memory_bytes_max: int) -> None:
        """A scripted guest has no memory."""

    def close(self) -> None:
        """Ends the guest wherever it is. Idempotent."""
        if not self.is_closed:
            self.is_closed = True
            self._engine.guests_live -= 1
            self._script = None

    def _is_closed_or_over(self) -> bool:
        return self.is_closed or self._is_over

    def _fuel_max(self) -> int:
        return FUEL_FOREVER if self._limits.fuel is None else self._limits.fuel

    def _run(self, quantum_fuel: int) -> Step:
        left = quantum_fuel
        while True:
            if self._burning:
                burned = min(self._burning, left, self._fuel_max() - self.fuel_used)
                self.fuel_used += burned
                self._burning -= burned
                left -= burned
                if self._burning:
                    if self.fuel_used >= self._fuel_max():
                        return Step(StepKind.ENDED, b"", "guest.out_of_fuel", "fuel is used up")
                    return Step(StepKind.YIELDED)
            if self._is_asking:
                self._take_answer()
            if self._action is not None:
                action, self._action = self._action, None
                step = self._act(action)
                if step is not None:
                    return step
            else:
                step = self._go_on()
                if step is not None:
                    return step

    def _go_on(self) -> Step | None:
        """Lets the script run to its next action, or to its end."""
        if self._script is None:
            return self._finish_raised(ScriptError(f"there is no handler {self._handler}"))
        result, self._result = self._result, None
        raised, self._raised = self._raised, None
        try:
            self._action = (
                self._script.send(result) if raised is None else self._script.throw(raised)
            )
        except StopIteration as stop:
            try:
                body = encode_value(stop.value)
            except Exception as error:  # noqa: BLE001 - whatever a guest returns is its own fault
                return self._finish_raised(ScriptError(str(error)))
            return self._finish(messages.OUTCOME_RETURNED, body, self._writes)
        except AssertionError:
            raise
        except ScriptError as error:
            return self._finish_raised(error)
        except Exception as error:  # noqa: BLE001 - whatever a guest raises is its own error
            return self._finish_raised(ScriptError(f"{type(error).__name__}: {error}"))
        self._burning = ACTION_FUEL
        return None

    def _finish(self, kind: int, body: bytes, writes: dict[str, bytes]) -> Step:
        outcome = messages.OutcomeMessage(
            kind=kind,
            body=msgspec.Raw(body),
            reads=list(self._reads),
            scans=list(self._scans),
            writes={key: msgspec.Raw(value) for key, value in writes.items()},
        )
        return Step(StepKind.FINISHED, _encoder.encode(outcome))

    def _finish_raised(self, error: ScriptError) -> Step:
        body = messages.ErrorMessage(
            code=error.code,
            message=str(error),
            traceback=f"in {self._handler}",
            data=msgspec.Raw(encode_value(error.data)),
        )
        return self._finish(messages.OUTCOME_RAISED, _encoder.encode(body), {})

    def _act(self, action: Action) -> Step | None:
        """Does one action; returns a step when it ends the slice."""
        match action:
            case ("burn", int(fuel)):
                self._burning = fuel
            case ("spin",):
                self._burning = FUEL_FOREVER
            case ("get", str(key)):
                self._reads[key] = None
                if key not in self._state and not self._is_complete:
                    return self._ask(action, messages.CALL_GET, key)
                self._result = self._decode(self._state.get(key))
            case ("set", str(key), value):
                self._state[key] = self._writes[key] = (
                    messages.NIL if value is None else encode_value(value)
                )
            case ("scan", str(prefix)):
                self._scans[prefix] = None
                self._result = []
                return self._ask_page(action, None)
            case ("scan more", str(prefix), str(after)):
                return self._ask_page(("scan", prefix), after)
            case ("call", str(entity), str(handler), *args):
                rest = (list(self._reads), list(self._scans), self._take_writes())
                encoded = msgspec.Raw(encode_value(args))
                return self._ask(action, messages.CALL_CALL, entity, handler, encoded, *rest)
            case ("range", str(), _):
                self._result = []
                return self._ask_page(action, None)
            case ("range more", str(start), end, str(after)):
                return self._ask_page(("range", start, end), after)
            case ("open_big", str(key)):
                return self._ask(action, messages.CALL_BLOB_OPEN, key, self._take_writes())
            case ("say", bytes(message)):
                return self._say(action, message)
            case ("grow", int(memory_bytes)):
                return self._grow(memory_bytes)
            case ("trap", str(detail)):
                return Step(StepKind.ENDED, b"", "guest.trapped", detail)
            case ("finish", bytes(outcome)):
                return Step(StepKind.FINISHED, outcome)
            case _:
                question = question_of(action)
                if question is None:
                    raise AssertionError(f"a script yielded {action!r}, which is no action")
                return self._ask(action, question[0], *question[1])
        return None

    def _grow(self, memory_bytes: int) -> Step | None:
        allowed = self._limits.memory_bytes
        if allowed is not None and memory_bytes > allowed:
            self.memory_bytes = allowed
            return Step(StepKind.ENDED, b"", "guest.out_of_memory", "memory is used up")
        self.memory_bytes = max(self.memory_bytes, memory_bytes)
        return None

    def _ask(self, action: Action, name: str, *args: Any) -> Step:
        return self._say(action, _encoder.encode((messages.CONTEXT_SELF, name, *args)))

    def _ask_page(self, action: Action, after: str | None) -> Step:
        """Asks for a page of ("scan", prefix) or ("range", start, end)."""
        return self._ask(action, *action, after, SCAN_PAGE, self._take_writes())

    def _say(self, action: Action, message: bytes) -> Step:
        if self._limits.calls is not None and self.calls >= self._limits.calls:
            return Step(StepKind.ENDED, b"", "guest.out_of_calls", "system calls are used up")
        self.calls += 1
        self._is_asking = True
        self._answer = None
        self._asked = action
        return Step(StepKind.ASKED, message)

    def _take_writes(self) -> dict[str, msgspec.Raw]:
        """Returns the writes the node has not been told yet, which counts as telling."""
        writes = {key: msgspec.Raw(value) for key, value in self._writes.items()}
        self._writes = {}
        return writes

    def _take_answer(self) -> None:
        """Turns the node's answer into the action's result, or into an exception in the script."""
        message, action = self._answer, self._asked
        assert message is not None
        self._is_asking = False
        self._answer = None
        if action[0] == "say":
            self._result = message
            return
        status, *values = _answer_decoder.decode(message)
        if msgspec.msgpack.decode(status) != 0:
            code, text, fields = (msgspec.msgpack.decode(value) for value in values)
            self._raised = Refused(msgspec.msgpack.decode(status), code, text, fields)
            return
        match action[0]:
            case "get":
                self._state[action[1]] = bytes(values[0])
                self._result = self._decode(bytes(values[0]))
            case "scan" | "range":
                self._take_page(action, values)
            case "close_big":
                self._state[action[1]] = bytes(values[1])
                self._writes.pop(action[1], None)
                self._result = answer_of(action, values)
            case "call":
                if msgspec.msgpack.decode(values[1]):
                    # A cycle of calls has changed our own state: what we hold is old.
                    self._state.clear()
                    self._is_complete = False
                self._result = decode_value(bytes(values[0]))
            case _:
                self._result = answer_of(action, values)

    def _take_page(self, action: Action, values: list[msgspec.Raw]) -> None:
        items = _page_decoder.decode(values[0])
        self._pages.extend((key, decode_state(bytes(value))) for key, value in items)
        if msgspec.msgpack.decode(values[1]):
            self._action = (f"{action[0]} more", *action[1:], items[-1][0])
            return
        self._result, self._pages = self._pages, []

    @staticmethod
    def _decode(raw: bytes | None) -> Any:
        return raw if raw is None else decode_state(raw)
