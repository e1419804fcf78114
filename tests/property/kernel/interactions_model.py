"""What contexts, calls and queues promise, told in plain lists and sums.

Nothing here is fast: every total is added up anew, every holder is visited. A method returns what
the kernel must return, or raises `Refused` with the code the kernel must raise. Where the kernel
writes nothing down (a number that dies with its context), the model moves each number through
`NUMBER_MOVES`, and each call through `CALL_MOVES`.
"""

from __future__ import annotations

from typing import Any

from lithox.kernel import Policy
from lithox.kernel.calls import CALL_MOVES, CallFact, CallPhase
from lithox.kernel.contexts import NUMBER_MOVES, NumberFact, NumberPhase
from lithox.kernel.events import (
    ABANDONED,
    DEADLINE_PASSED,
    EMPTY_ARRAY,
    EVENT_BYTES,
    NO_ROOM_FOR_ANSWER,
    NO_ROOM_FOR_CONTEXTS,
    NO_ROOM_FOR_EXIT,
    Answered,
    AnswerEvent,
    CallEvent,
    CloseEvent,
    ExitEvent,
    MessageEvent,
    OpenEvent,
)
from tests.property.kernel.interactions_records import Ctx, Deed, Ear, Num, Post, Proc, Refused

NEVER_NS = 1 << 63
OWN = {
    refusal.args
    for refusal in (ABANDONED, DEADLINE_PASSED, NO_ROOM_FOR_ANSWER, NO_ROOM_FOR_CONTEXTS)
}


def paid(args: bytes) -> int:
    """Returns what an answer's payload counts; the kernel's own answers are free."""
    return 0 if args in OWN else len(args)


class Model:
    """All processes of a node."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.procs: dict[int, Proc] = {}
        self.deeds: list[Deed] = []
        self.ctxs: list[Ctx] = []
        self.timers: list[tuple[int, int, Any]] = []
        self.sequence = 0
        self.now_ns = 0
        self.node_answers: list[tuple[int, int, bytes]] = []
        self.gone: list[tuple[int, int]] = []
        """(pid, parent pid) of processes that have ended since last asked, in order."""

    # Sums.

    def open_numbers(self, ctx: Ctx) -> list[Num]:
        return [
            num
            for proc in self.procs.values()
            for num in proc.numbers.values()
            if num.ctx is ctx and num.phase is NumberPhase.OPEN and proc is not ctx.owner
        ]

    def calls_in(self, proc: Proc) -> list[Deed]:
        return [d for d in self.deeds if d.owner is proc and d.phase is not CallPhase.OVER]

    def share(self, owner: Proc, account: str) -> tuple[int, int]:
        """Returns (calls, queued bytes) of one account at an owner."""
        deeds = [d for d in self.calls_in(owner) if d.account == account]
        return len(deeds), sum(self.charge_of(d) for d in deeds if d in owner.mailbox)

    def calls_out(self, proc: Proc) -> int:
        is_open = [d for d in self.deeds if d.caller is proc and d.phase is not CallPhase.OVER]
        return len(is_open) + sum(type(e) is AnswerEvent for e in proc.mailbox)

    def charge_of(self, entry: Any) -> int:
        if type(entry) is Deed:
            return EVENT_BYTES + len(entry.name) + len(entry.args)
        if type(entry) is Post:
            return EVENT_BYTES + len(entry.args)
        if type(entry) is ExitEvent and entry.message != NO_ROOM_FOR_EXIT:
            return EVENT_BYTES + len(entry.message) + len(entry.values)
        return 0 if type(entry) is AnswerEvent else EVENT_BYTES

    def mailbox_bytes(self, proc: Proc) -> int:
        held = sum(len(self.open_numbers(ctx)) for ctx in self.ctxs if ctx.owner is proc) + len(
            proc.exits_due
        )
        return sum(map(self.charge_of, proc.mailbox)) + held * EVENT_BYTES

    def account_bytes(self, account: str) -> int:
        total = 0
        for proc in self.procs.values():
            if proc.account == account:
                total += self.mailbox_bytes(proc) + self.calls_out(proc) * EVENT_BYTES
                total += sum(paid(e.args) for e in proc.mailbox if type(e) is AnswerEvent)
                if type(proc.outcome) is Answered:
                    total += EVENT_BYTES + paid(proc.outcome.args)
        return total

    def account_contexts(self, account: str) -> int:
        return sum(len(p.numbers) for p in self.procs.values() if p.account == account)

    def has_room(self, proc: Proc, size: int, beside: int = 0) -> bool:
        """`beside`: what the same act charges the account besides."""
        return (
            self.mailbox_bytes(proc) + size <= self.policy.mailbox_bytes_max
            and self.account_bytes(proc.account) + size + beside
            <= self.policy.mailbox_bytes_per_account_max
        )

    def has_numbers(self, proc: Proc, count: int) -> bool:
        return (
            len(proc.numbers) + count <= self.policy.contexts_max
            and self.account_contexts(proc.account) + count <= self.policy.contexts_per_account_max
        )

    # Time.

    def plan(self, end_ns: int, target: Any) -> None:
        if end_ns < NEVER_NS:
            self.sequence += 1
            self.timers.append((end_ns, self.sequence, target))

    def unplan(self, target: Any) -> None:
        self.timers = [timer for timer in self.timers if timer[2] is not target]

    def hasten(self, target: Any, latest_ns: int) -> None:
        if any(end_ns > latest_ns for end_ns, _, planned in self.timers if planned is target):
            self.unplan(target)
            self.plan(latest_ns, target)

    def advance(self, now_ns: int) -> None:
        self.now_ns = max(self.now_ns, now_ns)
        while True:
            due = [timer for timer in self.timers if timer[0] <= self.now_ns]
            if not due:
                return
            target = min(due, key=lambda timer: timer[:2])[2]
            self.unplan(target)
            if type(target) is Proc:
                self.wake(target, None)
            else:
                self.move(target, CallFact.EXPIRED)
                self.finish(target, *DEADLINE_PASSED, [])

    def wake(self, proc: Proc, outcome: Any) -> None:
        self.unplan(proc)
        proc.wait = ""
        proc.outcome = outcome
        if proc.where == "waiting":
            proc.where = "ready"

    def post(self, proc: Proc, entry: Any) -> None:
        proc.mailbox.append(entry)
        if proc.wait == "pull":
            self.wake(proc, self.take(proc))

    def take(self, proc: Proc) -> Any:
        if not proc.mailbox:
            return None
        entry = proc.mailbox.pop(0)
        if type(entry) is Deed:
            self.move(entry, CallFact.PULLED)
            return CallEvent(entry.cid, entry.ctx.number, entry.name, entry.caller_pid, entry.args)
        if type(entry) is Post:
            ear = entry.ear
            missed, ear.missed = ear.missed, 0
            return MessageEvent(ear.num.number, ear.queue, entry.sender, entry.args, missed)
        return entry

    # Numbers.

    def resolve(self, proc: Proc, number: int) -> Num:
        num = proc.numbers.get(number)
        if num is None and not 0 <= number < proc.number_next:
            raise Refused("context.invalid")
        if num is None or num.phase is not NumberPhase.OPEN:
            raise Refused("context.closed")
        return num

    def own(self, proc: Proc, number: int) -> Ctx:
        ctx = self.resolve(proc, number).ctx
        if ctx.owner is not proc:
            raise Refused("context.not_owner")
        return ctx

    def give(self, proc: Proc, ctx: Ctx) -> int:
        number = proc.number_next
        proc.number_next += 1
        proc.numbers[number] = Num(proc, number, ctx)
        return number

    def make(self, proc: Proc, grant: str | None) -> int:
        if not self.has_numbers(proc, 1):
            raise Refused("context.too_many")
        ctx = Ctx(None, 0, grant) if grant is not None else Ctx(proc, proc.number_next)
        self.ctxs.append(ctx)
        return self.give(proc, ctx)

    def check_owners(self, giver: Proc, ctxs: list[Ctx], taker_pid: int) -> dict[str, int]:
        needed: dict[int, int] = {}
        totals: dict[str, int] = {}
        for ctx in ctxs:
            owner = ctx.owner
            if owner is None or owner.pid == taker_pid:
                continue
            more = EVENT_BYTES * (1 if owner is giver else 2)
            size = needed[owner.pid] = needed.get(owner.pid, 0) + more
            total = totals[owner.account] = totals.get(owner.account, 0) + more
            if not self.has_room(owner, size, total - size):
                raise Refused("context.too_many" if owner is giver else "request.overloaded")
        return totals

    def hand_on(self, giver: Proc, ctx: Ctx, taker: Proc) -> int:
        number = self.give(taker, ctx)
        if ctx.owner is not None and ctx.owner is not taker:
            if ctx.owner is giver:
                ctx.given_by_owner += 1
            else:
                ctx.opens += 1
                self.post(ctx.owner, OpenEvent(ctx.number, taker.pid))
        return number

    def waste(self, giver: Proc, ctxs: list[Ctx], taker_pid: int) -> None:
        for ctx in ctxs:
            if ctx.owner is None or ctx.owner.pid == taker_pid:
                continue
            if ctx.owner is giver:
                ctx.given_by_owner += 1
            else:
                ctx.opens += 1
                self.post(ctx.owner, OpenEvent(ctx.number, taker_pid))
            ctx.closes += 1
            self.post(ctx.owner, CloseEvent(ctx.number, taker_pid))

    def grant(self, proc: Proc, number: int, taker: Proc | None) -> int:
        ctx = self.resolve(proc, number).ctx
        if taker is None:
            raise Refused("request.not_found")
        if not self.has_numbers(taker, 1):
            raise Refused("context.too_many")
        self.check_owners(proc, [ctx], taker.pid)
        return self.hand_on(proc, ctx, taker)

    def bind(self, proc: Proc, number: int, name: str) -> None:
        ctx = self.own(proc, number)
        if name in ctx.names:
            return
        bound = sum(len(c.names) for c in self.ctxs if c.owner is proc)
        if bound >= self.policy.bindings_max:
            raise Refused("context.too_many")
        ctx.names.append(name)

    def unbind(self, proc: Proc, number: int, name: str) -> None:
        ctx = self.own(proc, number)
        if name not in ctx.names:
            raise Refused("context.no_such_name")
        ctx.names.remove(name)

    def close(self, proc: Proc, number: int) -> None:
        num = proc.numbers.get(number)
        if num is None:
            self.resolve(proc, number)
        self.give_up(num, drops=True)

    def give_up(self, num: Num, *, drops: bool) -> None:
        """A number goes: by its process's own act, or with its process."""
        proc, ctx = num.proc, num.ctx
        self.silence(num, drops=drops)
        if num.is_main and num.phase is NumberPhase.OPEN:
            self.end_context(ctx)
            num.phase = NumberPhase.DEAD
        was = num.phase
        num.phase = NUMBER_MOVES[NumberFact.CLOSED][num.phase]
        del proc.numbers[num.number]
        if was is NumberPhase.OPEN and ctx.owner not in {None, proc}:
            ctx.closes += 1
            self.post(ctx.owner, CloseEvent(ctx.number, proc.pid))

    def end_context(self, ctx: Ctx) -> None:
        owner = ctx.owner
        for proc in self.procs.values():
            for num in proc.numbers.values():
                if num.ctx is ctx and not num.is_main:
                    self.lose(num, NumberFact.OWNER_CLOSED)
        ctx.names.clear()
        self.abandon([d for d in self.calls_in(owner) if d.ctx is ctx])
        ctx.owner, ctx.grant = None, "ended"

    def lose(self, num: Num, fact: NumberFact) -> None:
        num.phase = NUMBER_MOVES[fact][num.phase]
        num.ctx.taken_back += 1
        self.silence(num, drops=False)

    def revoke(self, proc: Proc, number: int, holder: int | None) -> int:
        ctx = self.own(proc, number)
        lost = [n for n in self.open_numbers(ctx) if holder is None or n.proc.pid == holder]
        callers = {n.proc for n in lost}
        if holder is None:
            callers = set(self.procs.values()) - {proc}
        for num in lost:
            self.lose(num, NumberFact.REVOKED)
        if lost or holder is None:
            self.abandon([d for d in self.calls_in(proc) if d.ctx is ctx and d.caller in callers])
        return len(lost)

    # Queues.

    def pending(self, ear: Ear) -> list[Post]:
        return [e for e in ear.num.proc.mailbox if type(e) is Post and e.ear is ear]

    def silence(self, num: Num, *, drops: bool) -> None:
        for ear in [e for e in num.proc.ears if e.num is num]:
            num.proc.ears.remove(ear)
            while drops and self.pending(ear):
                self.drop(ear)

    def drop(self, ear: Ear) -> None:
        ear.num.proc.mailbox.remove(self.pending(ear)[0])
        ear.missed += 1

    def listen(self, proc: Proc, number: int, queue: str, limit: int | None, newest: bool) -> None:
        num = self.resolve(proc, number)
        limit = self.policy.queue_limit_default if limit is None else limit
        if not 1 <= limit <= self.policy.queue_limit_max:
            raise Refused("request.bad_arguments")
        ear = next((e for e in proc.ears if e.num is num and e.queue == queue), None)
        if ear is None:
            if len(proc.ears) >= self.policy.listens_max:
                raise Refused("context.too_many")
            self.sequence += 1
            ear = Ear(num, queue, born=self.sequence)
            proc.ears.append(ear)
        ear.limit, ear.drops_newest = limit, newest
        while len(self.pending(ear)) > limit:
            self.drop(ear)

    def unlisten(self, proc: Proc, number: int, queue: str) -> None:
        num = self.resolve(proc, number)
        ear = next((e for e in proc.ears if e.num is num and e.queue == queue), None)
        if ear is None:
            raise Refused("request.not_found")
        proc.ears.remove(ear)
        while self.pending(ear):
            self.drop(ear)

    def push(self, proc: Proc, number: int, queue: str, args: bytes) -> tuple[int, int]:
        ctx = self.resolve(proc, number).ctx
        if len(args) > self.policy.message_bytes_max:
            raise Refused("request.too_large")
        ears = [
            ear
            for other in self.procs.values()
            for ear in other.ears
            if ear.num.ctx is ctx
            and ear.queue == queue
            and (other is ctx.owner) is (ctx.owner is not proc)
            and ctx.owner is not None
        ]
        delivered = lost = 0
        for ear in sorted(ears, key=lambda ear: ear.born):
            listener, size = ear.num.proc, EVENT_BYTES + len(args)
            while True:
                if len(self.pending(ear)) < ear.limit and self.has_room(listener, size):
                    delivered += 1
                    self.post(listener, Post(ear, proc.pid, args))
                    break
                lost += 1
                if ear.drops_newest or not self.pending(ear):
                    ear.missed += 1
                    break
                self.drop(ear)
        return delivered, lost

    # Calls.

    def move(self, deed: Deed, fact: CallFact) -> None:
        after = CALL_MOVES[fact][deed.phase]
        assert after is not None
        if deed.owner is not None and after is CallPhase.OVER and deed in deed.owner.mailbox:
            deed.owner.mailbox.remove(deed)
        deed.phase = after

    def can_call(self, proc: Proc) -> None:
        if self.calls_out(proc) >= self.policy.calls_out_max:
            raise Refused("context.too_many")
        full = self.account_bytes(proc.account) + EVENT_BYTES
        if full > self.policy.mailbox_bytes_per_account_max:
            raise Refused("request.overloaded")

    def call(
        self,
        proc: Proc | None,
        owner: Proc,
        ctx: Ctx,
        what: tuple[str, bytes],
        *,
        is_blocking: bool = False,
    ) -> Deed:
        """Makes a call; the machine gives it its number afterwards. `proc` None: the node."""
        name, args = what
        if name not in ctx.names and not any(
            bound.endswith("*") and name.startswith(bound[:-1]) for bound in ctx.names
        ):
            raise Refused("context.no_such_name")
        if len(args) > self.policy.message_bytes_max:
            raise Refused("request.too_large")
        if proc is not None:
            self.can_call(proc)
        size = EVENT_BYTES + len(name) + len(args)
        is_full = len(self.calls_in(owner)) >= self.policy.calls_in_max
        is_same = proc is not None and proc.account == owner.account
        if is_full or not self.has_room(owner, size, EVENT_BYTES if is_same else 0):
            raise Refused("request.overloaded")
        if proc is not None and not is_same:
            calls, queued_bytes = self.share(owner, proc.account)
            if calls >= self.policy.calls_in_per_account_max:
                raise Refused("request.overloaded")
            if queued_bytes + size > self.policy.mailbox_bytes_max // 2:
                raise Refused("request.overloaded")
        if is_blocking:
            step, walked = owner, 0
            while step is not None:
                if walked >= self.policy.chain_max:
                    raise Refused("request.overloaded")
                if step is proc:
                    raise Refused("call.deadlock")
                step = None if step.blocked_on is None else step.blocked_on.owner
                walked += 1
        caller_pid = 0 if proc is None else proc.pid
        deed = Deed(0, proc, caller_pid, owner, ctx, name, args, CallPhase.QUEUED, is_blocking)
        deed.account = "" if proc is None else proc.account
        self.deeds.append(deed)
        if is_blocking:
            proc.blocked_on = deed
        return deed

    def call_native(self, proc: Proc, *, is_blocking: bool) -> Deed:
        self.can_call(proc)
        deed = Deed(0, proc, proc.pid, None, None, "", b"", CallPhase.NODE, is_blocking)
        self.deeds.append(deed)
        if is_blocking:
            proc.blocked_on = deed
        return deed

    def answer(self, proc: Proc, cid: int, status: int, args: bytes, shared: list[int]) -> None:
        deed = next((d for d in self.deeds if d.cid == cid and d.owner is proc), None)
        if deed is None or deed.phase is not CallPhase.TAKEN:
            raise Refused("call.not_found")
        if len(args) > self.policy.message_bytes_max:
            raise Refused("request.too_large")
        if len(shared) > self.policy.contexts_max:
            raise Refused("request.bad_arguments")
        ctxs = [self.resolve(proc, number).ctx for number in shared]
        totals = self.check_owners(proc, ctxs, deed.caller_pid)
        self.move(deed, CallFact.ANSWERED)
        caller, numbers = deed.caller, []
        refusal = None
        if caller is not None:
            refusal = self.refusal(deed, args, len(ctxs), totals.get(caller.account, 0))
        if caller is None or refusal is not None:
            self.waste(proc, ctxs, deed.caller_pid)
        else:
            numbers = [self.hand_on(proc, ctx, caller) for ctx in ctxs]
        self.finish(deed, *(refusal or (status, args)), numbers)

    def answer_native(self, deed: Deed, status: int, args: bytes, grants: list[str]) -> None:
        refusal = self.refusal(deed, args, len(grants))
        self.move(deed, CallFact.ANSWERED)
        numbers = []
        if refusal is None:
            numbers = [self.make(deed.caller, grant) for grant in grants]
        self.finish(deed, *(refusal or (status, args)), numbers)

    def refusal(self, deed: Deed, args: bytes, count: int, beside: int = 0) -> Any:
        caller = deed.caller
        if count and not self.has_numbers(caller, count):
            return NO_ROOM_FOR_CONTEXTS
        # A call that is answered already has left `calls_out` of this model for a moment.
        open_bytes = EVENT_BYTES if deed.phase is CallPhase.OVER else 0
        full = self.account_bytes(caller.account) + open_bytes + len(args) + beside
        if full > self.policy.mailbox_bytes_per_account_max:
            return NO_ROOM_FOR_ANSWER
        return None

    def finish(self, deed: Deed, status: int, args: bytes, numbers: list[int]) -> None:
        """The one answer of a call that is OVER."""
        self.unplan(deed)
        deed.answers += 1
        caller = deed.caller
        if caller is None:
            if deed.caller_pid == 0:
                self.node_answers.append((deed.cid, status, args))
            return
        if not deed.is_blocking:
            self.post(caller, AnswerEvent(deed.cid, status, args, numbers))
            return
        caller.blocked_on = None
        outcome = Answered(status, args, numbers)
        if caller.wait == "answer":
            self.wake(caller, outcome)
        else:
            caller.outcome = outcome

    def abandon(self, deeds: list[Deed]) -> None:
        for deed in deeds:
            self.move(deed, CallFact.ABANDONED)
            self.finish(deed, *ABANDONED, [])

    # Ends.

    def enter(self, pid: int, account: str, parent: Proc | None) -> Proc:
        if parent is not None:
            if not self.has_room(parent, EVENT_BYTES):
                raise Refused("context.too_many")
            parent.exits_due.append(pid)
        proc = self.procs[pid] = Proc(pid, account, parent)
        return proc

    def descendants(self, proc: Proc) -> list[Proc]:
        found: list[Proc] = []
        for child in [p for p in self.procs.values() if p.parent is proc]:
            if child.where != "zombie":
                found += [*self.descendants(child), child]
        return found

    def strike(self, proc: Proc) -> None:
        """A kill: who is on a processor becomes a zombie, others go at once."""
        if proc.where in {"running", "about"}:
            proc.where = "zombie"
        else:
            self.leave(proc)

    def leave(self, proc: Proc) -> None:
        del self.procs[proc.pid]
        self.gone.append((proc.pid, 0 if proc.parent is None else proc.parent.pid))
        proc.wait = ""
        self.unplan(proc)
        for deed in self.deeds:
            if deed.caller is proc and deed.phase is not CallPhase.OVER:
                deed.phase = CALL_MOVES[CallFact.CALLER_ENDED][deed.phase]
                deed.caller = None
                if deed.phase is CallPhase.OVER:
                    self.unplan(deed)
                else:
                    self.hasten(deed, self.now_ns + self.policy.call_timeout_ns)
        for num in list(proc.numbers.values()):
            self.give_up(num, drops=False)
        for other in self.procs.values():
            if other.parent is proc:
                other.parent = None

    def post_exit(self, parent_pid: int, event: ExitEvent) -> bool:
        parent = self.procs.get(parent_pid)
        if parent is None or event.pid not in parent.exits_due:
            return False
        more = len(event.message) + len(event.values)
        if not self.has_room(parent, more):
            event = event._replace(message=NO_ROOM_FOR_EXIT, values=EMPTY_ARRAY)
        parent.exits_due.remove(event.pid)
        self.post(parent, event)
        return True
