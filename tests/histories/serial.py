"""An executor that does one transaction at a time, its clients all at once; and its planted bugs.

What it records is by construction strictly serializable: each transaction takes effect at one
moment between its question and its answer. With a bug planted it is not, provably so.
"""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from random import Random

from tests.histories.records import Append, Look, Operation, Read, Recorder, Step, Write

CLIENTS = 4
KEYS = ("x", "y", "z")


class Bug(StrEnum):
    """What goes wrong once."""

    LOST_APPEND = "an append is acknowledged and not done"
    DOUBLE_APPEND = "an append is done twice"
    STALE_READ = "a read shows what had been replaced before it was asked for"
    FRACTURED_READ = "one of two keys written together is seen, the other not"
    LOST_UPDATE = "two writes of a register do not know of each other"
    REFUSED_AND_DONE = "an append is refused and done all the same"
    BACKWARDS = "an append goes before those that were acknowledged"


class Serial:
    """Lists and registers, and the history of what clients are told."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._moment = 0
        self._lists: defaultdict[str, list[int]] = defaultdict(list)
        self._registers: dict[str, tuple[int, int | None]] = {}
        self._last = 0
        self.recorder = Recorder(self._tick)

    def _tick(self) -> int:
        self._moment += 1
        return self._moment

    def history(self) -> list[Operation]:
        """Returns what was recorded."""
        return self.recorder.history()

    def value(self) -> int:
        """Returns a number never used before."""
        self._last += 1
        return self._last

    def draw(self) -> list[Step]:
        """Returns what a client might ask for."""
        steps: list[Step] = []
        for _ in range(self._random.randint(1, 3)):
            key = self._random.choice(KEYS)
            kind = self._random.choice((Append, Read, Write, Look))
            if kind is Append:
                steps.append(Append(key=key, value=self.value()))
            elif kind is Write:
                steps.append(Write(key=f"r{key}", value=self.value()))
            else:
                steps.append(Read(key=key) if kind is Read else Look(key=f"r{key}"))
        return steps

    def apply(self, steps: list[Step]) -> list[Step]:
        """Does `steps` at this moment; returns them with what was seen."""
        done: list[Step] = []
        for step in steps:
            match step:
                case Append(key=key, value=value):
                    self._lists[key].append(value)
                    done.append(step)
                case Read(key=key):
                    done.append(Read(key=key, values=tuple(self._lists[key])))
                case Write(key=key, value=value):
                    version = self._registers.get(key, (0, None))[0] + 1
                    self._registers[key] = version, value
                    done.append(Write(key=key, value=value, version=version))
                case Look(key=key):
                    version, seen = self._registers.get(key, (0, None))
                    done.append(Look(key=key, version=version, value=seen))
        return done

    def ask(self, client: int, steps: list[Step]) -> list[Step]:
        """Asks, does and answers with nothing in between."""
        number = self.recorder.invoke(client, steps)
        done = self.apply(steps)
        self.recorder.succeed(number, done)
        return done

    def run(self, moves: int) -> None:
        """Lets clients ask, be served, answered, refused or forgotten, in any order."""
        asked: dict[int, tuple[int, list[Step]]] = {}
        served: dict[int, tuple[int, list[Step]]] = {}
        for _ in range(moves):
            client = self._random.randrange(CLIENTS)
            if client in served:
                number, done = served.pop(client)
                if self._random.random() < 0.85:
                    self.recorder.succeed(number, done)
            elif client in asked:
                number, steps = asked.pop(client)
                fate = self._random.random()
                if fate < 0.1:
                    self.recorder.fail(number)
                elif fate < 0.9:
                    served[client] = number, self.apply(steps)
            else:
                steps = self.draw()
                asked[client] = self.recorder.invoke(client, steps), steps
        for number, done in served.values():
            self.recorder.succeed(number, done)

    def plant(self, bug: Bug) -> None:
        """Does one thing wrong, and lets somebody see it."""
        reader, writer = 0, 1
        match bug:
            case Bug.LOST_APPEND:
                number = self.recorder.invoke(writer, [lost := Append(key="x", value=self.value())])
                self.recorder.succeed(number, [lost])
            case Bug.DOUBLE_APPEND:
                self.ask(writer, [Append(key="x", value=self.value())])
                self._lists["x"].append(self._lists["x"][-1])
            case Bug.STALE_READ:
                self.ask(writer, [Append(key="x", value=self.value())])
                number = self.recorder.invoke(reader, [Read(key="x")])
                self.recorder.succeed(number, [Read(key="x", values=tuple(self._lists["x"][:-1]))])
            case Bug.FRACTURED_READ:
                number = self.recorder.invoke(reader, [Read(key="x"), Read(key="y")])
                old = tuple(self._lists["x"])
                self.ask(writer, [Append(key=key, value=self.value()) for key in ("x", "y")])
                new = tuple(self._lists["y"])
                self.recorder.succeed(
                    number, [Read(key="x", values=old), Read(key="y", values=new)]
                )
            case Bug.LOST_UPDATE:
                before = self._registers.get("rx", (0, None))
                self.ask(writer, [Write(key="rx", value=self.value())])
                self._registers["rx"] = before
                self.ask(reader, [Write(key="rx", value=self.value())])
            case Bug.REFUSED_AND_DONE:
                append = Append(key="x", value=self.value())
                number = self.recorder.invoke(writer, [append])
                self.apply([append])
                self.recorder.fail(number)
            case Bug.BACKWARDS:
                self.ask(writer, [Append(key="x", value=self.value())])
                self.ask(writer, [Append(key="x", value=self.value())])
                self._lists["x"][-2:] = reversed(self._lists["x"][-2:])
        self.ask(reader, [Read(key="x")])
