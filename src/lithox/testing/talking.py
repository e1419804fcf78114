"""Processes that do to each other whatever programs can, drawn from one seed.

`TalkSimulator(seed).run()` lets scripted programs call, answer, push, listen, share, revoke, wait,
start children and end, on processors that overlap in simulated time, while processes are killed;
then it waits until everything has come to rest and nothing may be left. It keeps its own books and
compares them with what each process hears:

- a call is answered once, by the time its deadline is heard of, and only its caller hears of it;
- a call event comes to the owner of the context, of a name bound there, in the order of calling;
- messages of one sender to one listener come in order, and what is missing is told as `missed`;
- each child's exit is heard once; a process that is ready runs within a bound.

Invariants: equal seeds give equal trace digests on every machine and under every hash seed. The
module is long because it is one process's whole vocabulary: an act and an event each have a method
of a few lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from lithox.errors import LithoxError
from lithox.kernel import Ended, Kernel, Lane, Mode, Policy, SliceEnd, Spawn, WaitKind
from lithox.kernel.contexts import Context
from lithox.kernel.events import Answered, AnswerEvent, CallEvent, ExitEvent, MessageEvent, Outcome
from lithox.model.ids import AccountName, Pid
from lithox.testing.clock import Timer
from lithox.testing.simulator import SimulationReport, run_to_rest
from lithox.testing.world import InvariantBroken, World

HORIZON_NS: Final = 2_000_000
"""No process is started after so much simulated time; a slice takes about 1 us of it."""
ACTS_MAX: Final = 6
"""Acts of one process in one slice."""
TIMEOUT_NS_MAX: Final = 20_000
LIFE_ACTS_MAX: Final = 400
CHECK_EVERY: Final = 20
"""Events between two countings of everything."""
NAMES: Final = ("get", "put", "file.*")
QUEUES: Final = ("news", "work")
PROCESSORS: Final = (Lane.FAST, Lane.FAST, Lane.LONG)


@dataclass(slots=True, kw_only=True)
class Talker:
    """The books about one live process."""

    pid: Pid
    parent: Pid | None
    mode: Mode
    acts_left: int
    numbers: list[int] = field(default_factory=list[int])
    owned: dict[int, set[str]] = field(default_factory=dict[int, set[str]])
    owed: list[int] = field(default_factory=list[int])
    pending: dict[int, int] = field(default_factory=dict[int, int])
    """Calls that wait for an answer -> deadline."""
    heard: dict[tuple[int, int, str], int] = field(default_factory=dict[tuple[int, int, str], int])
    """(sender, own number, queue) -> last message heard."""
    last_call: dict[int, int] = field(default_factory=dict[int, int])
    children: set[Pid] = field(default_factory=set[Pid])
    is_waiting: bool = False
    is_out: bool = False


class TalkSimulator:
    """One simulation, drawn from `seed`."""

    def __init__(self, seed: int, *, horizon_ns: int = HORIZON_NS) -> None:
        self.world = World(seed)
        self.kernel = Kernel(self._draw_policy())
        self.talkers: dict[Pid, Talker] = {}
        self._stop_ns = horizon_ns
        self._is_busy = [False] * len(PROCESSORS)
        self._timer: Timer | None = None
        self._sequence = 0
        self.world.checkers.append(self)
        self.world.clock.call_at(0, self._arrive)
        self.world.clock.call_at(horizon_ns // 10, self._strike)

    def run(self) -> SimulationReport:
        """Returns what happened once all processes have ended; raises SimulationFailed."""
        return run_to_rest(self.world, self._check_rest)

    def check(self) -> None:
        """Adds up what all processes hold, now and then, and compares it with the sums kept."""
        if self.world.events % CHECK_EVERY:
            return
        held: dict[Context, int] = {}
        numbers: dict[AccountName, int] = {}
        policy, parties = self.kernel.policy, self.kernel.interactions._table.values()
        for party in parties:
            for holding in party.holdings.values():
                context = holding.context
                is_others = context.owner is not party and not holding.is_dead()
                held[context] = held.get(context, 0) + is_others
            name = party.account.name
            numbers[name] = numbers.get(name, 0) + len(party.holdings)
            listening = sum(len(holding.listeners or ()) for holding in party.holdings.values())
            if party.listens != listening:
                raise InvariantBroken(f"{party.pid} listens {listening} times, not {party.listens}")
            if not 0 <= party.mailbox_bytes <= policy.mailbox_bytes_max:
                raise InvariantBroken(f"the mailbox of {party.pid} holds {party.mailbox_bytes}")
        for context, count in held.items():
            if not context.is_closed and context.foreign_count != count:
                raise InvariantBroken(
                    f"others hold {count} numbers of a context, not {context.foreign_count}"
                )
        for party in parties:
            if party.account.contexts != numbers[party.account.name]:
                raise InvariantBroken(f"account {party.account.name} has lost count of contexts")

    # What happens from outside.

    def _draw_policy(self) -> Policy:
        draw = self.world.random
        return Policy(
            quanta_fuel=(2_000, 4_000, 8_000),
            slice_fuel_min=100,
            fuel_per_us=1_000,
            processes_max=draw.randrange(6, 30),
            processes_per_account_max=30,
            starvation_ns=50_000,
            contexts_max=draw.choice((8, 200)),
            calls_out_max=draw.choice((3, 50)),
            calls_in_max=draw.choice((3, 50)),
            listens_max=draw.choice((2, 20)),
            queue_limit_default=draw.choice((1, 4)),
            mailbox_bytes_max=draw.choice((2_000, 20_000)),
            mailbox_bytes_per_account_max=draw.choice((10_000, 200_000)),
            call_timeout_ns=TIMEOUT_NS_MAX,
            call_timeout_max_ns=2 * TIMEOUT_NS_MAX,
        )

    def _arrive(self) -> None:
        """A root process comes now and then."""
        if self.world.clock.monotonic_ns() < self._stop_ns:
            self._start(None)
            self._settle()
            self.world.clock.call_after(self.world.random.randrange(1, 60_000), self._arrive)

    def _strike(self) -> None:
        """A process is killed now and then."""
        now_ns = self.world.clock.monotonic_ns()
        if self.talkers and now_ns < 2 * self._stop_ns:
            pid = self.world.random.choice(list(self.talkers))
            self.world.note("kill", pid)
            self.kernel.notify_killed(pid, "request.cancelled", now_ns)
            self._settle()
            self.world.clock.call_after(self.world.random.randrange(1, 150_000), self._strike)

    # How the node works.

    def _now(self) -> int:
        return self.world.clock.monotonic_ns()

    def _start(self, parent: Talker | None) -> None:
        draw = self.world.random
        account = AccountName(draw.choice("ab"))
        mode = draw.choice(list(Mode))
        spec = Spawn(
            account=account,
            name="talker",
            priority=draw.randrange(10),
            parent=None if parent is None else parent.pid,
            mode=mode,
        )
        pid = self.kernel.notify_spawned(spec, self._now())
        self.world.note("spawn", pid, spec.parent, mode.value)
        if pid is None:
            return
        talker = Talker(
            pid=pid, parent=spec.parent, mode=mode, acts_left=draw.randrange(5, LIFE_ACTS_MAX)
        )
        self.talkers[pid] = talker
        try:
            self.kernel.interactions.enter(pid, account)
        except LithoxError as error:
            self._refused(error)
            self.kernel.notify_ended(pid, self._now())
            del self.talkers[pid]
            return
        if parent is not None:
            parent.children.add(pid)
            for number in draw.sample(parent.numbers, min(2, len(parent.numbers))):
                self._share(parent, number, talker)

    def _settle(self) -> None:
        """Performs effects, gives idle processors work, and sets the timer."""
        self._perform()
        for processor, lane in enumerate(PROCESSORS):
            if not self._is_busy[processor]:
                self._pick(processor, lane)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        next_ns = self.kernel.next_deadline_ns()
        if next_ns is not None:
            self._timer = self.world.clock.call_at(next_ns, self._on_time)

    def _on_time(self) -> None:
        self.kernel.notify_time(self._now())
        self._settle()

    def _perform(self) -> None:
        for effect in self.kernel.take_effects():
            if not isinstance(effect, Ended) or effect.pid not in self.talkers:
                raise InvariantBroken(f"nobody asked for the effect {effect}")
            self._end(self.talkers[effect.pid], effect.code)

    def _end(self, talker: Talker, code: str) -> None:
        self.world.note("end", talker.pid, code)
        self.world.counts[f"ended {code}"] += 1
        del self.talkers[talker.pid]
        if talker.parent is not None:
            interactions = self.kernel.interactions
            is_there = interactions.is_party(talker.parent)
            told = interactions.post_exit(
                talker.parent, talker.pid, 0 if code == "ok" else 1, code, "", b"\x90"
            )
            if told != is_there:
                raise InvariantBroken(f"the exit of {talker.pid} was told: {told}")

    def _pick(self, processor: int, lane: Lane) -> None:
        piece = self.kernel.next_slice(lane, self._now())
        self._perform()
        if piece is None:
            return
        talker = self.talkers.get(piece.pid)
        if talker is None or talker.is_out:
            raise InvariantBroken(f"process {piece.pid} was given a slice it cannot run")
        talker.is_out = self._is_busy[processor] = True
        if talker.is_waiting:
            talker.is_waiting = False
            self._hear(talker, self.kernel.interactions.take_outcome(talker.pid))
        end = self._act(talker)
        fuel = piece.quantum_fuel if end is SliceEnd.YIELDED else 500
        self.world.note("slice", talker.pid, int(lane), int(end))

        def come_back() -> None:
            talker.is_out = self._is_busy[processor] = False
            stands = self.kernel.notify_sliced(talker.pid, end, fuel, fuel, self._now())
            if stands and end is SliceEnd.FINISHED:
                # Its children end in the same fact, before it.
                self._perform()
                self._end(talker, "ok")
            self._settle()

        self.world.clock.call_after(fuel, come_back)

    # What a process does in a slice.

    def _act(self, talker: Talker) -> SliceEnd:
        """Lets `talker` act a few times; returns how its slice comes back."""
        draw = self.world.random
        acts = (
            self._make, self._bind, self._call, self._call, self._call, self._answer,
            self._answer, self._answer, self._push, self._push, self._listen, self._unlisten,
            self._close, self._revoke, self._run, self._pull, self._pull,
        )  # fmt: skip
        for _ in range(draw.randrange(1, ACTS_MAX)):
            talker.acts_left -= 1
            if talker.acts_left < 0:
                return SliceEnd.FINISHED
            try:
                draw.choice(acts)(talker)
            except LithoxError as error:
                self._refused(error)
        end = draw.randrange(8)
        if end == 0:
            return SliceEnd.YIELDED
        if end == 1:
            return SliceEnd.SWITCHED
        try:
            return self._wait(talker)
        except LithoxError as error:
            self._refused(error)
            return SliceEnd.SWITCHED

    def _refused(self, error: LithoxError) -> None:
        self.world.note("refused", error.code)
        self.world.counts[f"refused {error.code}"] += 1

    def _draw_number(self, talker: Talker) -> int:
        if talker.numbers and self.world.random.randrange(20):
            return self.world.random.choice(talker.numbers)
        return self.world.random.randrange(-1, 9)

    def _payload(self) -> bytes:
        """Returns a payload with the next number, so that order can be seen."""
        self._sequence += 1
        return self._sequence.to_bytes(8) + bytes(self.world.random.choice((0, 0, 300)))

    def _make(self, talker: Talker) -> None:
        if len(talker.owned) < 3:
            number = self.kernel.interactions.make_context(talker.pid)
            talker.numbers.append(number)
            talker.owned[number] = set()

    def _bind(self, talker: Talker) -> None:
        if talker.owned:
            number = self.world.random.choice(list(talker.owned))
            name = self.world.random.choice(NAMES)
            self.kernel.interactions.bind(talker.pid, number, name)
            talker.owned[number].add(name)

    def _call(self, talker: Talker, *, is_blocking: bool = False) -> int:
        draw, now_ns = self.world.random, self._now()
        deadline_ns = now_ns + draw.randrange(1, TIMEOUT_NS_MAX)
        name = draw.choice(("get", "put", "file.read"))
        number = self._draw_number(talker)
        cid = self.kernel.interactions.call(
            talker.pid, number, name, self._payload(), deadline_ns, now_ns, is_blocking
        )
        self.world.note("call", talker.pid, number, cid)
        talker.pending[cid] = deadline_ns
        return cid

    def _answer(self, talker: Talker) -> None:
        if not talker.owed:
            return
        draw = self.world.random
        cid = talker.owed.pop(draw.randrange(len(talker.owed)))
        shared = draw.sample(talker.numbers, min(draw.randrange(3), len(talker.numbers)))
        self.kernel.interactions.answer(talker.pid, cid, 0, self._payload(), shared, self._now())
        self.world.note("answer", talker.pid, cid, len(shared))

    def _push(self, talker: Talker) -> None:
        queue = self.world.random.choice(QUEUES)
        number = self._draw_number(talker)
        pushed = self.kernel.interactions.push(
            talker.pid, number, queue, self._payload(), self._now()
        )
        self.world.note("push", talker.pid, number, pushed)

    def _listen(self, talker: Talker) -> None:
        draw = self.world.random
        self.kernel.interactions.listen(
            talker.pid,
            self._draw_number(talker),
            draw.choice(QUEUES),
            overflow=draw.choice(("drop_oldest", "drop_newest", None)),
        )

    def _unlisten(self, talker: Talker) -> None:
        queue = self.world.random.choice(QUEUES)
        self.kernel.interactions.unlisten(talker.pid, self._draw_number(talker), queue)

    def _close(self, talker: Talker) -> None:
        if talker.numbers and not self.world.random.randrange(4):
            number = self.world.random.choice(talker.numbers)
            self.kernel.interactions.close(talker.pid, number, self._now())
            talker.numbers.remove(number)
            talker.owned.pop(number, None)
            self.world.note("close", talker.pid, number)

    def _revoke(self, talker: Talker) -> None:
        if talker.owned and not self.world.random.randrange(8):
            holder = self.world.random.choice([None, *self.talkers])
            number = self.world.random.choice(list(talker.owned))
            count = self.kernel.interactions.revoke(talker.pid, number, holder, self._now())
            self.world.note("revoke", talker.pid, number, holder, count)

    def _run(self, talker: Talker) -> None:
        if self._now() < self._stop_ns and not self.world.random.randrange(3):
            self._start(talker)

    def _share(self, giver: Talker, number: int, taker: Talker) -> None:
        try:
            theirs = self.kernel.interactions.grant(giver.pid, number, taker.pid)
        except LithoxError as error:
            self._refused(error)
        else:
            taker.numbers.append(theirs)

    def _pull(self, talker: Talker) -> None:
        """Takes all events; then every call whose time was up must have been answered."""
        self.kernel.notify_time(self._now())
        while (event := self.kernel.interactions.pull(talker.pid)) is not None:
            self._hear(talker, event)
        late = [cid for cid, deadline_ns in talker.pending.items() if deadline_ns <= self._now()]
        if late:
            raise InvariantBroken(f"calls {late} of process {talker.pid} were never answered")

    def _wait(self, talker: Talker) -> SliceEnd:
        draw, interactions = self.world.random, self.kernel.interactions
        kind = draw.choice((WaitKind.PULL, WaitKind.PULL, WaitKind.ANSWER, WaitKind.SLEEP))
        end_ns: int | None = None
        if kind is WaitKind.ANSWER:
            self._call(talker, is_blocking=True)
        else:
            end_ns = self._now() + draw.randrange(1, TIMEOUT_NS_MAX)
        talker.is_waiting = True
        interactions.wait(talker.pid, kind, end_ns)
        return SliceEnd.ASKED

    # What a process hears.

    def _hear(self, talker: Talker, event: Outcome | None) -> None:
        self.world.note("hear", talker.pid, None if event is None else event.kind)
        if isinstance(event, CallEvent):
            self._hear_call(talker, event)
        elif isinstance(event, AnswerEvent):
            if talker.pending.pop(event.cid, None) is None:
                raise InvariantBroken(f"{talker.pid} hears an answer to {event.cid}, not its own")
            talker.numbers += event.contexts
        elif isinstance(event, Answered):
            # A request is the last call it made; nothing else was made while it waited.
            talker.pending.pop(max(talker.pending))
            talker.numbers += event.contexts
        elif isinstance(event, MessageEvent):
            self._hear_message(talker, event)
        elif isinstance(event, ExitEvent):
            if Pid(event.pid) not in talker.children or Pid(event.pid) in self.talkers:
                raise InvariantBroken(f"{talker.pid} hears of the exit of {event.pid}")
            talker.children.discard(Pid(event.pid))
        elif event is not None and event.ctx not in talker.owned:
            # A context it closed meanwhile still has events in its mailbox.
            self.world.note("late", talker.pid, event.ctx)

    def _hear_call(self, talker: Talker, event: CallEvent) -> None:
        if event.ctx not in talker.owned:
            raise InvariantBroken(f"{talker.pid} hears a call in {event.ctx}, not its own")
        names = talker.owned[event.ctx]
        if event.name not in names and not ("file.*" in names and event.name == "file.read"):
            raise InvariantBroken(f"{talker.pid} hears {event.name}, which it never bound")
        if event.cid <= talker.last_call.get(event.pid, 0):
            raise InvariantBroken(f"calls of {event.pid} to {talker.pid} changed places")
        talker.last_call[event.pid] = event.cid
        talker.owed.append(event.cid)

    def _hear_message(self, talker: Talker, event: MessageEvent) -> None:
        key = (event.pid, event.ctx, event.queue)
        sequence = int.from_bytes(event.args[:8])
        if sequence <= talker.heard.get(key, 0):
            raise InvariantBroken(f"messages of {event.pid} to {talker.pid} changed places")
        talker.heard[key] = sequence

    def _check_rest(self) -> None:
        """Nothing is left of anybody."""
        if self.talkers or self.kernel.table():
            raise InvariantBroken(f"processes {list(self.talkers)} never ended")
        left: dict[str, Any] = self.kernel.interactions.statistics()
        if any(left.values()) or self.kernel.next_deadline_ns() is not None:
            raise InvariantBroken(f"all are gone, and this is left: {left}")
