"""Who calls a simulated node: callers that ask again, and those who make its life hard.

A caller has one wish at a time. Under an id it asks until it knows, through refusals, crashes and
restarts, and sometimes twice at once; without an id it asks once. What it hears goes to the ledger.

Invariants: a caller ends: its wishes and the times it asks for one are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from lithox.dispatch.job import ATOMIC_PLACE
from lithox.errors import LithoxError
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, Pid, RequestId
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call, Caller, Request
from lithox.testing.ledger import Ledger
from lithox.testing.whole_node import NETWORK_DELAY_NS, WholeNode
from lithox.testing.wishes import Asked, Wish
from lithox.testing.workloads import Workload
from lithox.testing.world import World

ASKS_MAX: Final = 12
"""How often a caller asks for one wish before it gives up."""
AGAIN_CODES: Final = frozenset(
    {
        "store.unavailable",
        "transaction.conflict",
        "request.overloaded",
        "request.cancelled",
        "request.deadline_passed",
    }
)
"""Errors after which a caller with an id asks again."""
GROUP_MAX: Final = 3
"""Calls of a group at most."""
AGAIN_NS: Final = 200_000
"""Mean time before it does."""


class Stage(Protocol):
    """Where callers find what they need.

    Attributes:
        node: the node that is up, or None between a crash and a restart.
    """

    world: World
    ledger: Ledger
    node: WholeNode | None


@dataclass(slots=True, kw_only=True)
class CallerHabits:
    """How one caller behaves; a rate of 0 means never.

    Attributes:
        pause_ns: mean time between an answer and the next wish.
        wishes: how many it has in all.
        workloads: what it calls, drawn evenly.
        spread: over how many entities of each its calls spread.
        group_one_in: one in so many wishes is a list of calls that commit together.
        id_one_in: one in so many wishes has a request id.
        twice_one_in: one in so many of those is asked twice at once.
        deadline_ns: mean deadline of a request; 0 for none.
    """

    identity: str
    pause_ns: int
    wishes: int
    workloads: tuple[Workload, ...]
    spread: int = 5
    group_one_in: int = 0
    id_one_in: int = 2
    twice_one_in: int = 4
    deadline_ns: int = 0


class SimulatedCaller:
    """Has one wish after the other until they are used up.

    Attributes:
        is_done: it wants nothing any more.
    """

    def __init__(self, stage: Stage, habits: CallerHabits) -> None:
        self._stage = stage
        self._habits = habits
        self._wishes_left = habits.wishes
        self._wish: Wish | None = None
        self._asks = 0
        self._out: list[Asked] = []
        self._is_settled = False
        self.is_done = habits.wishes == 0
        self._later(habits.pause_ns, self._begin)

    def _later(self, mean_ns: int, action: Callable[[], None]) -> None:
        world = self._stage.world
        world.clock.call_after(world.random.randrange(1, 2 * mean_ns), action)

    def _begin(self) -> None:
        world, ledger = self._stage.world, self._stage.ledger
        if self._wishes_left == 0:
            self.is_done = True
            return
        self._wishes_left -= 1
        number = len(ledger.wishes)
        workload = world.random.choice(self._habits.workloads)
        is_group = world.has_luck(self._habits.group_one_in)
        count = world.random.randrange(1, GROUP_MAX + 1) if is_group else 1
        has_id = world.has_luck(self._habits.id_one_in)
        self._wish = Wish(
            number=number,
            identity=self._habits.identity,
            calls=[workload.draw(world.random, number, self._habits.spread) for _ in range(count)],
            is_list=is_group,
            request_id=f"wish-{number}" if has_id else None,
        )
        ledger.wishes.append(self._wish)
        self._asks = 0
        self._is_settled = False
        self._ask()
        if has_id and world.has_luck(self._habits.twice_one_in):
            self._ask()

    def _ask(self) -> None:
        """Asks for the wish now, or waits for a node that is up."""
        stage, wish = self._stage, self._wish
        assert wish is not None, "only a caller with a wish asks"
        node = stage.node
        if node is None:
            self._ask_again_later(wish)
            return
        self._asks += 1
        request = self._make_request(wish)
        asked = stage.ledger.note_asked(wish, request)
        self._out.append(asked)
        stage.world.note("ask", wish.number, self._asks)

        def arrive() -> None:
            node.send(request, lambda answer: self._leave(asked, answer))

        node.channels.post(self._habits.identity, arrive, NETWORK_DELAY_NS)

    def _make_request(self, wish: Wish) -> Request:
        world, habits = self._stage.world, self._habits
        deadline_ns = None
        if habits.deadline_ns and world.has_luck(2):
            deadline_ns = world.clock.monotonic_ns() + world.random.randrange(
                1, 2 * habits.deadline_ns
            )
        calls = tuple(
            Call(entity=EntityPath(entity), handler=HandlerName(handler), args=args)
            for entity, handler, args in wish.calls
        )
        return Request(
            entity=EntityPath(ATOMIC_PLACE) if wish.is_list else calls[0].entity,
            handler=HandlerName("atomic") if wish.is_list else calls[0].handler,
            args=[] if wish.is_list else calls[0].args,
            calls=calls if wish.is_list else (),
            caller=Caller(identity=Identity(habits.identity), account=AccountName(habits.identity)),
            request_id=None if wish.request_id is None else RequestId(wish.request_id),
            deadline_ns=deadline_ns,
            limits=Limits(fuel=100_000) if world.has_luck(8) else None,
        )

    def _leave(self, asked: Asked, answer: Answer) -> None:
        """An answer leaves the node; it arrives later."""
        stage = self._stage
        stage.ledger.note_answered(asked, answer)
        error = answer.error
        code = "ok" if error is None else getattr(error, "code", "internal")
        what = f"answered {code.rstrip('-0123456789')}"
        stage.world.note(what, asked.wish.number, code, answer.value, answer.is_recorded)
        self._later(NETWORK_DELAY_NS, lambda: self._hear(asked, error))

    def _hear(self, asked: Asked, error: Exception | None) -> None:
        if asked not in self._out:
            return
        self._out.remove(asked)
        may_help = isinstance(error, LithoxError) and error.code in AGAIN_CODES
        if may_help and asked.wish.request_id is not None:
            self._ask_again_later(asked.wish)
            return
        self._is_settled = True
        self._next()

    def on_crash(self) -> None:
        """Hears that the node is gone: whatever was asked may or may not have happened."""
        for asked in self._out:
            if not asked.is_over:
                self._stage.ledger.note_gone(asked)
        had_asked, self._out = bool(self._out), []
        if not had_asked:
            return
        if self._wish is not None and self._wish.request_id is not None:
            self._ask_again_later(self._wish)
        else:
            self._next()

    def _ask_again_later(self, wish: Wish) -> None:
        self._later(AGAIN_NS, lambda: self._ask_again(wish))

    def _ask_again(self, wish: Wish) -> None:
        if wish is not self._wish:
            return  # Two asked, and the other has settled it.
        if self._is_settled or self._asks >= ASKS_MAX or self._out:
            self._next()
            return
        self._ask()

    def _next(self) -> None:
        """Goes on to the next wish once nothing is out for this one."""
        if self._out or self._wish is None:
            return
        self._wish = None
        self._later(self._habits.pause_ns, self._begin)


class Killer:
    """Ends a process of the node now and then, as an operator may, while `is_busy`."""

    def __init__(self, stage: Stage, pause_ns: int, is_busy: Callable[[], bool]) -> None:
        self._stage = stage
        self._pause_ns = pause_ns
        self._is_busy = is_busy
        self._plan()

    def _plan(self) -> None:
        world = self._stage.world
        world.clock.call_after(world.random.randrange(1, 2 * self._pause_ns), self._strike)

    def _strike(self) -> None:
        if not self._is_busy():
            return
        node = self._stage.node
        views = [] if node is None else node.dispatcher.processes()
        if node is not None and views:
            pid = self._stage.world.random.choice(views).pid
            node.channels.post("operator", lambda: self._kill(node, pid), NETWORK_DELAY_NS)
        self._plan()

    def _kill(self, node: WholeNode, pid: Pid) -> None:
        self._stage.world.note("kill", pid, node.dispatcher.kill(pid))
