"""Interactions equal their model, whatever processes do to each other in whatever order.

Processes are driven without guests: each rule is one system call of one process on a processor, or
one fact (time, a kill, a slice that comes back). Results, events, counts, bounds and who waits are
compared after every step; at the end all processes are killed and nothing may be left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from lithox.errors import LithoxError
from lithox.kernel import (
    Kernel,
    Lane,
    Mode,
    Policy,
    SliceEnd,
    Spawn,
    WaitKind,
)
from lithox.kernel.calls import CallPhase
from lithox.model.ids import AccountName, Pid
from tests.property.kernel.interactions_laws import LawfulMachine
from tests.property.kernel.interactions_model import Model
from tests.property.kernel.interactions_policies import policies
from tests.property.kernel.interactions_records import Num, Proc, Refused

NAMES = ("f", "go", "g*", "*")
QUEUES = ("q", "r")
payloads = st.sampled_from((b"\x90", b"\x91\x01", b"\x91" + b"x" * 200, b"\x91" + b"x" * 400))
numbers = st.integers(-1, 7)
timeouts = st.none() | st.integers(0, 60)


class InteractionsMachine(LawfulMachine):
    """Acts drawn by Hypothesis go to the kernel and to the model."""

    @initialize(policy=policies, has_server=st.booleans())
    def begin(self, policy: Policy, has_server: bool) -> None:
        self.kernel = Kernel(policy)
        self.it = self.kernel.interactions
        self.model = Model(policy)
        self.now_ns = 0
        self.spawned = 0
        self.ending: list[tuple[int, str]] = []
        self.seen_pairs: dict[tuple[int, int], int] = {}
        for _ in range(3):
            self.spawn_one("a", None)
            self.pick()
        # Without this most acts would be refused: the first process serves the others.
        if has_server:
            owner, *clients = self.model.procs.values()
            for wanted, real in (
                (lambda: self.model.make(owner, None), lambda: self.it.make_context(1)),
                (lambda: self.model.bind(owner, 0, "f"), lambda: self.it.bind(1, 0, "f")),
                *(
                    (
                        lambda taker=taker: self.model.grant(owner, 0, taker),
                        lambda taker=taker: self.it.grant(1, 0, taker.pid),
                    )
                    for taker in clients
                ),
            ):
                self.both(real, wanted)

    # Machinery.

    def both(self, real: Callable[[], Any], wanted: Callable[[], Any]) -> Any:
        """Does an act in both worlds; returns the common result, None when it was refused."""
        try:
            expected, code = wanted(), None
        except Refused as refused:
            expected, code = None, refused.code
        try:
            found = real()
        except LithoxError as error:
            if error.code != code:
                raise AssertionError(f"{error.code} instead of {code}") from error
            return None
        assert code is None, f"{found} instead of {code}"
        assert found == expected
        return found

    def advance(self, step_ns: int) -> int:
        """Lets time pass in both worlds, so that a refused act leaves them at the same time."""
        self.now_ns += step_ns
        self.model.advance(self.now_ns)
        self.kernel.notify_time(self.now_ns)
        return self.now_ns

    def in_phase(self, *where: str) -> list[Proc]:
        return [proc for proc in self.model.procs.values() if proc.where in where]

    def running(self, data: st.DataObject) -> Proc:
        return data.draw(st.sampled_from(self.in_phase("running")))

    def number_of(self, proc: Proc, data: st.DataObject) -> int:
        """Draws a number: mostly one the process has."""
        held = st.sampled_from(sorted(proc.numbers)) if proc.numbers else numbers
        return data.draw(st.one_of(held, held, held, numbers))

    def spawn_one(self, account: str, parent: Proc | None) -> Proc | None:
        pid = self.kernel.notify_spawned(
            Spawn(
                account=AccountName(account),
                name="n",
                parent=None if parent is None else Pid(parent.pid),
                mode=Mode.PREEMPTIVE,
            ),
            self.now_ns,
        )
        if pid is None:
            assert len(self.model.procs) >= 5
            return None
        name = AccountName(account)
        entered = self.both(
            lambda: self.it.enter(pid, name) or True,
            lambda: self.model.enter(pid, account, parent) is not None,
        )
        if entered is None:
            self.kernel.notify_ended(pid, self.now_ns)
            return None
        return self.model.procs[pid]

    def pick(self) -> None:
        """Lets one ready process go on; what ended its wait must be what the model says."""
        for lane in Lane:
            piece = self.kernel.next_slice(lane, self.now_ns)
            if piece is not None:
                proc = self.model.procs[piece.pid]
                assert proc.where == "ready"
                proc.where = "running"
                self.take_outcome(proc)
                return
        assert not self.in_phase("ready")

    def take_outcome(self, proc: Proc) -> None:
        found = self.it.take_outcome(proc.pid)
        assert found == proc.outcome
        assert type(found) is type(proc.outcome)
        proc.outcome = None
        self.check_order(proc, found)

    def check_order(self, proc: Proc, event: Any) -> None:
        """Calls of one process to another arrive in the order in which they were made."""
        if event is not None and event.kind == "call":
            pair = (event.pid, proc.pid)
            assert event.cid > self.seen_pairs.get(pair, 0)
            self.seen_pairs[pair] = event.cid

    # Processes.

    @rule(account=st.sampled_from("ab"), number=numbers, data=st.data())
    def spawn(self, account, number, data) -> None:
        """A root process, or a child that is given one of its parent's contexts."""
        self.advance(0)
        parent = data.draw(st.sampled_from([None, *self.in_phase("running")]))
        proc = self.spawn_one(account, parent)
        if proc is not None and parent is not None:
            self.both(
                lambda: self.it.grant(parent.pid, number, proc.pid),
                lambda: self.model.grant(parent, number, proc),
            )

    @rule()
    def schedule(self) -> None:
        self.advance(0)
        self.pick()

    @precondition(lambda self: self.in_phase("about"))
    @rule(data=st.data())
    def come_back_asking(self, data) -> None:
        """A process that said what it waits for leaves the processor."""
        proc = data.draw(st.sampled_from(self.in_phase("about")))
        now_ns = self.advance(0)
        if proc.where != "about":
            return
        proc.where = "waiting" if proc.wait else "ready"
        assert self.kernel.notify_sliced(Pid(proc.pid), SliceEnd.ASKED, 5, 0, now_ns)

    @precondition(lambda self: self.in_phase("running", "zombie"))
    @rule(
        end=st.sampled_from((SliceEnd.FINISHED, SliceEnd.ENDED, SliceEnd.SWITCHED)), data=st.data()
    )
    def come_back(self, end, data) -> None:
        """A slice comes back; a zombie's is its end, whatever it came to."""
        proc = data.draw(st.sampled_from(self.in_phase("running", "zombie")))
        now_ns = self.advance(0)
        stands = self.kernel.notify_sliced(Pid(proc.pid), end, 5, 0, now_ns)
        assert stands == (proc.where == "running")
        if proc.where == "zombie":
            self.model.leave(proc)
        elif end is SliceEnd.SWITCHED:
            proc.where = "ready"
        else:
            for child in self.model.descendants(proc):
                self.model.strike(child)
            self.model.leave(proc)

    @precondition(lambda self: self.model.procs)
    @rule(step_ns=st.integers(0, 20), data=st.data())
    def kill(self, step_ns, data) -> None:
        pid = data.draw(st.sampled_from(sorted(self.model.procs)))
        now_ns = self.advance(step_ns)
        proc = self.model.procs[pid]
        assert self.kernel.notify_killed(Pid(pid), "request.cancelled", now_ns)
        if proc.where != "zombie":
            for child in self.model.descendants(proc):
                self.model.strike(child)
            self.model.strike(proc)

    @rule(step_ns=st.integers(0, 120))
    def time_passes(self, step_ns) -> None:
        self.advance(step_ns)

    # Contexts.

    @precondition(lambda self: self.in_phase("running"))
    @rule(native=st.none() | st.sampled_from(("log", "time")), data=st.data())
    def make(self, native, data) -> None:
        proc = self.running(data)
        if native is None:
            self.both(lambda: self.it.make_context(proc.pid), lambda: self.model.make(proc, None))
        else:
            self.both(
                lambda: self.it.make_native(proc.pid, native),
                lambda: self.model.make(proc, native),
            )

    @precondition(lambda self: self.in_phase("running"))
    @rule(name=st.sampled_from(NAMES), unbinds=st.booleans(), data=st.data())
    def bind(self, name, unbinds, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        if unbinds:
            self.both(
                lambda: self.it.unbind(proc.pid, number, name),
                lambda: self.model.unbind(proc, number, name),
            )
        else:
            self.both(
                lambda: self.it.bind(proc.pid, number, name),
                lambda: self.model.bind(proc, number, name),
            )

    @precondition(lambda self: len(self.in_phase("running")) > 1)
    @rule(data=st.data())
    def share(self, data) -> None:
        """A context goes straight from one running process to another, or to the dead."""
        proc = self.running(data)
        number = self.number_of(proc, data)
        pid = data.draw(st.sampled_from([*sorted(self.model.procs), 999]))
        self.both(
            lambda: self.it.grant(proc.pid, number, pid),
            lambda: self.model.grant(proc, number, self.model.procs.get(pid)),
        )

    @precondition(lambda self: self.in_phase("running"))
    @rule(data=st.data())
    def close(self, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        now_ns = self.advance(0)
        self.both(
            lambda: self.it.close(proc.pid, number, now_ns),
            lambda: self.model.close(proc, number),
        )

    @precondition(lambda self: self.in_phase("running"))
    @rule(holder=st.none() | st.integers(1, 9), data=st.data())
    def revoke(self, holder, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        now_ns = self.advance(0)
        self.both(
            lambda: self.it.revoke(proc.pid, number, holder, now_ns),
            lambda: self.model.revoke(proc, number, holder),
        )

    @precondition(lambda self: self.in_phase("running"))
    @rule(data=st.data())
    def look(self, data) -> None:
        """A number leads to a grant, to a process, or nowhere."""
        proc = self.running(data)
        number = self.number_of(proc, data)
        self.both(
            lambda: self.it.find_grant(proc.pid, number),
            lambda: self.model.resolve(proc, number).ctx.grant or None,
        )

    # Calls.

    def call_anything(self, proc, number, what, timeout, *, is_blocking) -> int | None:
        name, args = what
        now_ns = self.advance(0)
        deadline_ns = None if timeout is None else now_ns + timeout
        made = []

        def wanted() -> Any:
            ctx = self.model.resolve(proc, number).ctx
            if ctx.owner is None:
                made.append(self.model.call_native(proc, is_blocking=is_blocking))
            else:
                made.append(self.model.call(proc, ctx.owner, ctx, what, is_blocking=is_blocking))
            return True

        found: list[int] = []

        def real() -> Any:
            if self.it.find_grant(proc.pid, number) is None:
                found.append(
                    self.it.call(proc.pid, number, name, args, deadline_ns, now_ns, is_blocking)
                )
            else:
                found.append(self.it.call_native(proc.pid, deadline_ns, now_ns, is_blocking))
            return True

        if self.both(real, wanted) is None:
            return None
        self.number(made[0], found[0], deadline_ns)
        return found[0]

    def number(self, deed, cid: int, deadline_ns: int | None) -> None:
        """A call was made: it gets its number and deadline, and is posted."""
        assert all(cid > other.cid for other in self.model.deeds if other is not deed)
        deed.cid = cid
        timeout_ns = self.model.policy.call_timeout_ns
        if deadline_ns is None:
            deadline_ns = self.now_ns + timeout_ns
        self.model.plan(deadline_ns, deed)
        if deed.owner is not None:
            self.model.post(deed.owner, deed)

    @precondition(lambda self: self.in_phase("running"))
    @rule(
        name=st.sampled_from(("f", "go", "none")), args=payloads, timeout=timeouts, data=st.data()
    )
    def call(self, name, args, timeout, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        self.call_anything(proc, number, (name, args), timeout, is_blocking=False)

    @precondition(lambda self: self.in_phase("running"))
    @rule(name=st.sampled_from(("f", "go")), args=payloads, timeout=timeouts, data=st.data())
    def request(self, name, args, timeout, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        cid = self.call_anything(proc, number, (name, args), timeout, is_blocking=True)
        if cid is not None:
            must_wait = self.it.wait(proc.pid, WaitKind.ANSWER, cid=cid)
            assert must_wait
            proc.wait, proc.where = "answer", "about"

    def ways(self) -> list[tuple[Proc, Num]]:
        """Who can call whom, both on a processor now, where a name is bound."""
        running = self.in_phase("running")
        return [
            (num.proc, num)
            for proc in running
            for num in proc.numbers.values()
            if num.phase.name == "OPEN"
            and num.ctx.owner in running
            and num.ctx.owner is not proc
            and num.ctx.names
        ]

    @precondition(lambda self: len(self.in_phase("running")) > 1)
    @rule(step_ns=st.integers(0, 120), data=st.data())
    def call_and_end(self, step_ns, data) -> None:
        """A caller ends long before the deadline of its call; the call does not stay that long."""
        ways = self.ways()
        if not ways:
            return
        proc, num = data.draw(st.sampled_from(ways))
        name = num.ctx.names[0].replace("*", "x")
        if self.call_anything(proc, num.number, (name, b"\x90"), 500, is_blocking=False) is None:
            return
        assert self.kernel.notify_sliced(Pid(proc.pid), SliceEnd.FINISHED, 5, 0, self.now_ns)
        for child in self.model.descendants(proc):
            self.model.strike(child)
        self.model.leave(proc)
        self.advance(step_ns)

    @precondition(lambda self: len(self.in_phase("running")) > 1)
    @rule(shared=st.lists(numbers, max_size=2), blocks=st.booleans(), data=st.data())
    def round_trip(self, shared, blocks, data) -> None:
        """A whole call: made, pulled, answered, and heard of; what goes wrong on the way may."""
        ways = self.ways()
        if not ways:
            return
        proc, num = data.draw(st.sampled_from(ways))
        owner = num.ctx.owner
        name = num.ctx.names[0].replace("*", "x")
        cid = self.call_anything(proc, num.number, (name, b"\x90"), 50, is_blocking=blocks)
        if cid is None:
            return
        if blocks:
            assert self.it.wait(proc.pid, WaitKind.ANSWER, cid=cid)
            proc.wait, proc.where = "answer", "waiting"
            self.kernel.notify_sliced(Pid(proc.pid), SliceEnd.ASKED, 5, 0, self.now_ns)
        event = None
        while event is None or event.kind != "call" or event.cid != cid:
            event = self.it.pull(owner.pid)
            assert event == self.model.take(owner)
            assert event is not None
            self.check_order(owner, event)
        self.both(
            lambda: self.it.answer(owner.pid, cid, 0, b"\x90", shared, self.now_ns),
            lambda: self.model.answer(owner, cid, 0, b"\x90", shared),
        )

    @precondition(lambda self: self.model.procs)
    @rule(name=st.sampled_from(("f", "go")), args=payloads, timeout=timeouts, data=st.data())
    def call_from_node(self, name, args, timeout, data) -> None:
        now_ns = self.advance(0)
        proc = data.draw(st.sampled_from(list(self.model.procs.values())))
        number = self.number_of(proc, data)
        deadline_ns = None if timeout is None else now_ns + timeout
        made, found = [], []

        def wanted() -> bool:
            ctx = self.model.own(proc, number)
            made.append(self.model.call(None, proc, ctx, (name, args)))
            return True

        def real() -> bool:
            found.append(self.it.call_from_node(proc.pid, number, name, args, deadline_ns, now_ns))
            return True

        if self.both(real, wanted):
            self.number(made[0], found[0], deadline_ns)

    @precondition(lambda self: self.in_phase("running"))
    @rule(args=payloads, status=st.integers(0, 2), is_right=st.booleans(), data=st.data())
    def answer(self, args, status, is_right, data) -> None:
        """Mostly a call it owes an answer; else any call there ever was, or none."""
        proc = self.running(data)
        now_ns = self.advance(0)
        taken = [d for d in self.model.deeds if d.phase is CallPhase.TAKEN]
        if is_right:
            taken = [d for d in taken if d.owner.where == "running"] or taken
        if is_right and taken:
            deed = data.draw(st.sampled_from(taken))
            proc, cid = deed.owner, deed.cid
        else:
            cid = data.draw(st.sampled_from([*(d.cid for d in self.model.deeds), 0, 12345]))
        if proc.where != "running":
            return
        held = st.sampled_from(sorted(proc.numbers)) if proc.numbers else numbers
        shared = data.draw(st.lists(held | held | numbers, max_size=3))
        self.both(
            lambda: self.it.answer(proc.pid, cid, status, args, shared, now_ns),
            lambda: self.model.answer(proc, cid, status, args, shared),
        )

    @precondition(lambda self: any(d.owner is None and d.caller_pid for d in self.model.deeds))
    @rule(args=payloads, grants=st.lists(st.sampled_from(("log", "x")), max_size=2), data=st.data())
    def answer_native(self, args, grants, data) -> None:
        now_ns = self.advance(0)
        deed = data.draw(
            st.sampled_from([d for d in self.model.deeds if d.owner is None and d.caller_pid])
        )
        is_open = deed.phase is CallPhase.NODE
        assert self.it.is_open(deed.cid) == is_open
        if is_open:
            self.model.answer_native(deed, 7, args, grants)
        assert self.it.answer_native(deed.cid, 7, args, grants, now_ns) == is_open

    # Queues.

    @precondition(lambda self: self.in_phase("running"))
    @rule(
        queue=st.sampled_from(QUEUES),
        limit=st.sampled_from((None, 0, 1, 2, 3, 4)),
        newest=st.booleans(),
        data=st.data(),
    )
    def listen(self, queue, limit, newest, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        overflow = "drop_newest" if newest else data.draw(st.sampled_from((None, "drop_oldest")))
        self.both(
            lambda: self.it.listen(proc.pid, number, queue, limit=limit, overflow=overflow),
            lambda: self.model.listen(proc, number, queue, limit, newest),
        )

    @precondition(lambda self: self.in_phase("running"))
    @rule(queue=st.sampled_from(QUEUES), data=st.data())
    def unlisten(self, queue, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        self.both(
            lambda: self.it.unlisten(proc.pid, number, queue),
            lambda: self.model.unlisten(proc, number, queue),
        )

    @precondition(lambda self: self.in_phase("running"))
    @rule(queue=st.sampled_from(QUEUES), args=payloads, count=st.integers(1, 4), data=st.data())
    def push(self, queue, args, count, data) -> None:
        proc = self.running(data)
        number = self.number_of(proc, data)
        now_ns = self.advance(0)
        for _ in range(count):
            self.both(
                lambda: self.it.push(proc.pid, number, queue, args, now_ns),
                lambda: self.model.push(proc, number, queue, args),
            )

    # Waiting.

    @precondition(lambda self: self.in_phase("running"))
    @rule(data=st.data())
    def pull(self, data) -> None:
        proc = self.running(data)
        wanted = self.model.take(proc)
        found = self.it.pull(proc.pid)
        assert found == wanted
        assert type(found) is type(wanted)
        self.check_order(proc, found)

    @precondition(lambda self: self.in_phase("running"))
    @rule(sleeps=st.booleans(), timeout=timeouts, asks_at_once=st.booleans(), data=st.data())
    def wait(self, sleeps, timeout, asks_at_once, data) -> None:
        """A pull or a sleep; what is there already may be taken without leaving the processor."""
        proc = self.running(data)
        now_ns = self.advance(0)
        end_ns = None if timeout is None else now_ns + timeout
        if not sleeps:
            proc.outcome = self.model.take(proc)
        kind = WaitKind.SLEEP if sleeps else WaitKind.PULL
        must_wait = self.it.wait(proc.pid, kind, end_ns)
        assert must_wait == (proc.outcome is None)
        if must_wait:
            proc.wait, proc.where = "sleep" if sleeps else "pull", "about"
            if end_ns is not None:
                self.model.plan(end_ns, proc)
        elif asks_at_once:
            proc.where = "about"
        else:
            self.take_outcome(proc)

    def teardown(self) -> None:
        """All processes end, in whatever order; nothing of them is kept."""
        if not hasattr(self, "model"):
            return
        for pid in sorted(self.model.procs):
            self.kernel.notify_killed(Pid(pid), "request.cancelled", self.now_ns)
        for pid in sorted(self.model.procs):
            if self.kernel.find(Pid(pid)) is not None:
                self.kernel.notify_sliced(Pid(pid), SliceEnd.YIELDED, 0, 0, self.now_ns)
        self.kernel.take_effects()
        assert self.kernel.table() == []
        assert self.it.statistics() == {
            "parties": 0, "accounts": 0, "contexts": 0, "mailbox_bytes": 0, "native_calls": 0,
        }  # fmt: skip
        left = self.kernel._timers._live
        assert left == sum(1 for _, _, t in self.kernel._timers._heap if t.timer)


InteractionsMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None
)
# A failing example is made small first, which takes longer than a test usually may.
test_interactions_equal_their_model = pytest.mark.timeout(300)(
    pytest.mark.slow(InteractionsMachine.TestCase)
)
