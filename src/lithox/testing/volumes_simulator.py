"""Several nodes, each with a volume of its own, and the bad links between them, from one number.

`VolumesSimulator(seed).run()` draws nodes, disks, links and what callers want, ends nodes in the
middle of everything, lets time pass until everything has come to rest, and then compares what
senders say they have sent with what receivers say they have got: of each pair every message once
and in order, or among the dead; of every request of a handler its effect once.

A link loses requests, loses answers, holds both up, and brings copies of requests long after, even
when both nodes have died since. When a node dies, all that it had been asked is answered as lost.

Invariants: equal seeds give equal trace digests on every machine and under every hash seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from lithox.dispatch.elsewhere import decode_origin, encode_origin
from lithox.dispatch.job import OnAnswer
from lithox.dispatch.messages.bounds import MessageBounds
from lithox.dispatch.messages.records import DEAD, OUTBOX, decode_dead, decode_message
from lithox.errors import StoreUnavailable, rebuild
from lithox.kernel import Policy
from lithox.model.ids import AccountName, EntityPath, HandlerName, Identity, RequestId
from lithox.model.limits import Limits
from lithox.model.request import Answer, Caller, Request
from lithox.model.values import decode_value
from lithox.testing.script import Module, Script, ScriptedSelf, ScriptError
from lithox.testing.scripted import ScriptedEngine
from lithox.testing.simulated_disk import DiskHabits, SimulatedDisk
from lithox.testing.simulator import SimulationReport, run_to_rest
from lithox.testing.whole_node import NETWORK_DELAY_NS, NodeHabits, WholeNode, deploy
from lithox.testing.world import InvariantBroken, World

VOLUMES: Final = 3
ENTITIES: Final = 2
"""Entities of each volume: few, so that pairs meet often."""
EVENTS_MAX: Final = 300_000
WISHES: Final = 40
CRASHES_MAX: Final = 10
DOWN_NS: Final = 200_000
"""Mean time between the end of a node and its next start."""
RETRY_NS: Final = 100_000
RETRY_DOUBLINGS: Final = 6
LATE_NS: Final = 3_000_000
"""Mean time after which a copy of a request comes again: many crashes later."""
OWNER: Final = Caller(identity=Identity("caller"), account=AccountName("caller"))


def volume_of(entity: str) -> int:
    """Returns the volume of `v<number>/<name>`."""
    return int(entity[1 : entity.index("/")])


# -- what entities do -----------------------------------------------------------------------


def tell(self: ScriptedSelf, receivers: list[str]) -> Script:
    """Sends each receiver the next number, and remembers how far it has come."""
    for receiver in receivers:
        number = ((yield ("get", f"sent/{receiver}")) or 0) + 1
        yield ("set", f"sent/{receiver}", number)
        yield ("send", receiver, "hear", self.id, number)
    return None


def hear(self: ScriptedSelf, sender: str, number: int) -> Script:
    """Keeps every number of a sender in the order in which they came; fails now and then."""
    if self.random.randrange(4) == 0:
        raise ScriptError("not now", code="busy")
    heard: list[int] = (yield ("get", f"heard/{sender}")) or []
    yield ("burn", self.random.randrange(6_000))
    yield ("set", f"heard/{sender}", [*heard, number])
    return None


def ask(self: ScriptedSelf, other: str, wish: int) -> Script:
    """Has `other` count a wish by a request of its own, and counts it itself."""
    asked: list[int] = (yield ("get", "asked")) or []
    yield ("request", other, "grant", wish)
    yield ("burn", self.random.randrange(6_000))
    yield ("set", "asked", [*asked, wish])
    return None


def grant(_self: ScriptedSelf, wish: int) -> Script:
    """Counts a wish."""
    granted: list[int] = (yield ("get", "granted")) or []
    yield ("set", "granted", [*granted, wish])
    return len(granted)


MODULE: Final[Module] = {"tell": tell, "hear": hear, "ask": ask, "grant": grant}
MODULES: Final = {f"v{volume}/*": MODULE for volume in range(VOLUMES)}


# -- links ----------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class LinkHabits:
    """How links behave; a rate of 0 means never.

    Attributes:
        delay_ns: mean time of a way.
        lose_one_in: one in so many requests, and as many answers, are lost.
        copy_one_in: one in so many requests comes a second time, late.
    """

    delay_ns: int
    lose_one_in: int
    copy_one_in: int


class SimulatedLinks:
    """What one life of a node knows of the others; see `dispatch.elsewhere.Elsewhere`."""

    def __init__(self, stage: VolumesSimulator, volume: int) -> None:
        self._stage = stage
        self._volume = volume
        self._waiting: dict[int, dict[object, OnAnswer]] = {}
        self.node: WholeNode | None = None

    def is_elsewhere(self, entity: str) -> bool:
        """Returns whether another node owns an entity."""
        return not entity.startswith("~") and volume_of(entity) != self._volume

    def volume_of(self, entity: str) -> int:
        """Returns the number of an entity's volume."""
        return volume_of(entity)

    def send(self, request: Request, on_answer: OnAnswer) -> None:
        """Sends a request on its way; it is answered once, or lost and answered so."""
        stage, target = self._stage, volume_of(request.entity)
        world, habits = stage.world, stage.links
        origin = encode_origin(request.origin)
        crossing = replace(request, origin=decode_origin(origin))
        token = object()
        self._waiting.setdefault(target, {})[token] = on_answer

        def tell_once(answer: Answer) -> None:
            waits = self._waiting.get(target, {}).pop(token, None)
            if waits is not None:
                waits(answer)

        def tell_soon(answer: Answer) -> None:
            if world.has_luck(habits.lose_one_in):
                world.note("answer lost")
                answer = lost()
            assert self.node is not None
            self.node.channels.post(f"from {target}", lambda: tell_once(answer), habits.delay_ns)

        def arrive() -> None:
            stage.arrive(target, crossing, tell_soon)

        if world.has_luck(habits.copy_one_in):
            delay_ns = world.random.randrange(1, 2 * LATE_NS)
            world.clock.call_after(delay_ns, lambda: stage.arrive_late(target, crossing))
        if world.has_luck(habits.lose_one_in):
            world.note("request lost")
            tell_soon(lost())
            return
        world.clock.call_after(world.random.randrange(1, 2 * habits.delay_ns), arrive)

    def break_down(self, volume: int) -> None:
        """Tells whoever waits for a node that it is gone."""
        assert self.node is not None
        for on_answer in self._waiting.pop(volume, {}).values():
            self.node.channels.post("broken", _telling(on_answer), NETWORK_DELAY_NS)


def lost() -> Answer:
    """Returns what is told when nobody knows whether a request took effect."""
    return Answer(error=StoreUnavailable("the link is lost", retry_after_ms=1))


def _telling(on_answer: OnAnswer) -> Callable[[], None]:
    return lambda: on_answer(lost())


def _cross(answer: Answer) -> Answer:
    """Returns an answer as it is made anew at the other end of a link."""
    error: Any = answer.error
    if error is None:
        return answer
    return replace(answer, error=rebuild(error.code, error.to_fields()))


# -- the stage ------------------------------------------------------------------------------


class VolumesSimulator:
    """One simulation, drawn from `seed`.

    Args:
        seed: 0 or more.
        wishes: what callers want altogether.
    """

    def __init__(self, seed: int, *, wishes: int = WISHES) -> None:
        self.world = World(seed)
        draw = self.world.random
        self._habits = self._draw_node()
        self.links = LinkHabits(
            delay_ns=draw.choice((2_000, 50_000)),
            lose_one_in=draw.choice((0, 4, 10)),
            copy_one_in=draw.choice((0, 2, 10)),
        )
        self._crashes_left = CRASHES_MAX * draw.randrange(2)
        self._crash_ns = draw.choice((200_000, 1_000_000))
        self._disks = [SimulatedDisk(self.world, self._draw_disk()) for _ in range(VOLUMES)]
        self._nodes: list[WholeNode | None] = [None] * VOLUMES
        self._ways: list[SimulatedLinks | None] = [None] * VOLUMES
        self._wishes_left = wishes
        for disk in self._disks:
            disk.install(deploy(ScriptedEngine(), MODULES)[1])
        for volume in range(VOLUMES):
            self._start(volume)
            self._plan_crash(volume)
        for wish in range(wishes):
            delay_ns = draw.randrange(1, 3_000_000)
            self.world.clock.call_after(delay_ns, self._wishing(self._draw_wish(wish)))

    # Nodes.

    def _start(self, volume: int) -> None:
        self.world.note("start", volume)
        way = self._ways[volume] = SimulatedLinks(self, volume)
        node = WholeNode(self.world, self._disks[volume], MODULES, self._habits, elsewhere=way)
        way.node = self._nodes[volume] = node
        self.world.checkers = [one for one in self._nodes if one is not None]

    def _plan_crash(self, volume: int) -> None:
        if self._crashes_left:
            pause_ns = self.world.random.randrange(1, 2 * self._crash_ns)
            self.world.clock.call_after(pause_ns, lambda: self._crash(volume))

    def _crash(self, volume: int) -> None:
        node = self._nodes[volume]
        if node is None or not self._crashes_left or not self._is_busy():
            return
        self._crashes_left -= 1
        self.world.note("crash", volume)
        node.crash()
        self._disks[volume].cut_power()
        self._nodes[volume] = self._ways[volume] = None
        self.world.checkers = [one for one in self._nodes if one is not None]
        for way in self._ways:
            if way is not None:
                way.break_down(volume)
        self.world.clock.call_after(self.world.random.randrange(1, 2 * DOWN_NS), self._back(volume))

    def _back(self, volume: int) -> Callable[[], None]:
        def start() -> None:
            self._start(volume)
            self._plan_crash(volume)

        return start

    def _is_busy(self) -> bool:
        return self._wishes_left > 0 or any(
            node is not None and node.dispatcher.mail.waiting.count for node in self._nodes
        )

    def arrive(self, volume: int, request: Request, on_answer: OnAnswer) -> None:
        """Brings a request to a node, or tells that there is none."""
        node = self._nodes[volume]
        if node is None:
            on_answer(lost())
            return
        node.dispatcher.arrive(request, lambda answer: on_answer(_cross(answer)))

    def arrive_late(self, volume: int, request: Request) -> None:
        """Brings a copy whose sender does not wait for it any more."""
        self.world.note("late copy", volume)
        self.arrive(volume, request, lambda _: None)

    # Callers.

    def _draw_wish(self, wish: int) -> Request:
        draw = self.world.random
        entity = self._draw_entity()
        handler, args = "ask", [self._draw_entity(), wish]
        if draw.randrange(2):
            handler, args = "tell", [[self._draw_entity() for _ in range(draw.randrange(1, 5))]]
        return Request(
            entity=entity,
            handler=HandlerName(handler),
            args=args,
            caller=OWNER,
            request_id=RequestId(f"w.{wish}"),
        )

    def _draw_entity(self) -> EntityPath:
        draw = self.world.random
        return EntityPath(f"v{draw.randrange(VOLUMES)}/{draw.randrange(ENTITIES)}")

    def _wishing(self, request: Request) -> Callable[[], None]:
        """Returns what asks any node for a wish, again until it is granted."""
        tries = 0

        def submit() -> None:
            nonlocal tries
            tries += 1
            volume = self.world.random.randrange(VOLUMES)
            node, is_over = self._nodes[volume], False

            def end(answer: Answer | None) -> None:
                nonlocal is_over
                if is_over:
                    return
                is_over = True
                if answer is not None and answer.error is None:
                    self.world.note("granted", request.request_id)
                    self._wishes_left -= 1
                    return
                self.world.note("again", request.request_id)
                self.world.clock.call_after(RETRY_NS << min(tries, RETRY_DOUBLINGS), submit)

            if node is None:
                end(None)
                return
            node.send(request, end)
            # A node that dies answers nobody: its caller asks another one.
            self._watch(volume, node, end)

        return submit

    def _watch(self, volume: int, node: WholeNode, end: Callable[[None], None]) -> None:
        def look() -> None:
            if self._nodes[volume] is not node:
                end(None)
            elif node.dispatcher.open_count:
                self.world.clock.call_after(RETRY_NS, look)

        self.world.clock.call_after(RETRY_NS, look)

    # The whole.

    def run(self) -> SimulationReport:
        """Returns what happened once everything has come to rest.

        Raises:
            SimulationFailed: a law was broken.

        Blocks: as long as the simulation takes, about a tenth of a second.
        """
        return run_to_rest(self.world, self._check_at_rest, events_max=EVENTS_MAX)

    def _check_at_rest(self) -> None:
        if self._wishes_left:
            raise InvariantBroken(f"{self._wishes_left} wishes are open, and nothing happens")
        for node in self._nodes:
            assert node is not None, "the last thing that happens to a node is a start"
            node.check_at_rest()
        for disk in self._disks:
            left = [decode_message(row) for row in disk.read_entity(OUTBOX).values()]
            if left:
                raise InvariantBroken(f"messages wait, and nothing happens any more: {left!r}")
        for sender in _all_entities():
            for receiver in _all_entities():
                self._check_pair(sender, receiver)
        asked, granted = self._gather("asked"), self._gather("granted")
        if asked != granted or len(set(asked)) != len(asked):
            raise InvariantBroken(f"asked for {asked}, granted {granted}")
        self.world.counts["asked"] += len(asked)
        self.world.note("rest")

    def _state(self, entity: str, key: str) -> Any:
        row = self._disks[volume_of(entity)].read_entity(entity).get(key)
        return None if row is None else decode_value(row)

    def _gather(self, key: str) -> list[int]:
        found: list[int] = []
        for entity in _all_entities():
            found += self._state(entity, key) or []
        return sorted(found)

    def _check_pair(self, sender: str, receiver: str) -> None:
        sent = self._state(sender, f"sent/{receiver}") or 0
        heard: list[int] = self._state(receiver, f"heard/{sender}") or []
        dead = [
            decode_value(bytes(record.args))[1]
            for row in self._disks[volume_of(sender)].read_entity(DEAD).values()
            if (record := decode_message(decode_dead(row).message)).pair == (sender, receiver, "")
        ]
        if heard != sorted(set(heard)):
            raise InvariantBroken(f"{receiver} heard {heard} from {sender}")
        if sorted([*heard, *dead]) != list(range(1, sent + 1)):
            raise InvariantBroken(f"{sender} sent {sent} to {receiver}: {heard}, dead are {dead}")
        counts = self.world.counts
        counts["heard"] += len(heard)
        counts["dead"] += len(dead)
        if volume_of(sender) != volume_of(receiver):
            counts["heard elsewhere"] += len(heard)
            counts["dead elsewhere"] += len(dead)

    # What is drawn.

    def _draw_disk(self) -> DiskHabits:
        draw = self.world.random
        return DiskHabits(
            sync_ns=draw.choice((2_000, 20_000, 100_000)),
            slow_one_in=draw.choice((0, 10)),
            fail_one_in=draw.choice((0, 0, 10)),
            probe_ns=draw.choice((10_000, 200_000)),
            batch_parts_max=draw.choice((8, 64)),
        )

    def _draw_node(self) -> NodeHabits:
        draw = self.world.random
        return NodeHabits(
            policy=Policy(quanta_fuel=(2_000, 6_000), slice_fuel_min=200, fuel_per_us=1_000),
            node_limits=Limits(fuel=200_000),
            messages=MessageBounds(
                tries_max=draw.choice((2, 5)),
                pause_first_ms=1,
                pause_last_ms=draw.choice((1, 8)),
                delivering_max=draw.choice((2, 256)),
                delivering_account_max=draw.choice((2, 64)),
            ),
        )


def _all_entities() -> list[str]:
    return [f"v{volume}/{name}" for volume in range(VOLUMES) for name in range(ENTITIES)]
