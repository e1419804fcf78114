"""The checker accepts everything a serial executor records, and refuses one thing done wrong."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.histories.check import find_problems
from tests.histories.linear import Touch, Verdict, decide, touches
from tests.histories.records import Look, Recorder, Write
from tests.histories.serial import Bug, Serial
from tests.histories.spelled import spell

seeds = st.integers(min_value=0, max_value=(1 << 32) - 1)
moves = st.integers(min_value=0, max_value=120)


@given(seed=seeds, before=moves)
def test_what_a_serial_executor_records_is_accepted(seed: int, before: int) -> None:
    """Any interleaving, with answers lost and requests refused, is accepted."""
    executor = Serial(Random(seed))
    executor.run(before)
    assert find_problems(executor.history()) == []


@given(seed=seeds, before=moves, after=moves, bug=st.sampled_from(Bug))
def test_one_thing_done_wrong_is_refused(seed: int, before: int, after: int, bug: Bug) -> None:
    """Wherever in a good history it stands, it is found."""
    executor = Serial(Random(seed))
    executor.run(before)
    executor.plant(bug)
    executor.run(after)
    assert find_problems(executor.history()) != []


class PlainRegister:
    """A register that clients write blindly and look at, one moment each."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._moment = 0
        self.recorder = Recorder(self._tick)
        self.value: int | None = None

    def _tick(self) -> int:
        self._moment += 1
        return self._moment

    def run(self, moves: int) -> None:
        """Lets four clients ask, be served and answered or forgotten, in any order."""
        served: dict[int, tuple[int, Write | Look]] = {}
        asked: dict[int, tuple[int, Write | Look]] = {}
        for move in range(moves):
            client = self._random.randrange(4)
            if client in served:
                number, done = served.pop(client)
                if self._random.random() < 0.9:
                    self.recorder.succeed(number, [done])
            elif client in asked:
                number, step = asked.pop(client)
                if isinstance(step, Write):
                    self.value = step.value
                else:
                    step = Look(key="r", value=self.value)
                served[client] = number, step
            else:
                is_write = self._random.random() < 0.5
                step = Write(key="r", value=move) if is_write else Look(key="r")
                asked[client] = self.recorder.invoke(client, [step]), step


@given(seed=seeds, count=moves)
def test_a_real_register_is_linearizable(seed: int, count: int) -> None:
    """Blind writes and looks that each took effect at one moment are explained."""
    register = PlainRegister(Random(seed))
    register.run(count)
    assert decide(touches(register.recorder.history(), "r")) is Verdict.YES


@given(seed=seeds, count=moves)
def test_a_register_that_forgets_is_not_linearizable(seed: int, count: int) -> None:
    """A look that shows what was overwritten before it was asked for is refused."""
    register = PlainRegister(Random(seed))
    register.run(count)
    recorder = register.recorder
    for write in (Write(key="r", value=1_000), Write(key="r", value=1_001)):
        recorder.succeed(recorder.invoke(9, [write]), [write])
    number = recorder.invoke(9, [Look(key="r")])
    recorder.succeed(number, [Look(key="r", value=1_000)])
    assert decide(touches(recorder.history(), "r")) is Verdict.NO


@given(seed=seeds, count=moves)
def test_both_checkers_agree(seed: int, count: int) -> None:
    """A history of one versioned register, good or spoiled, is judged alike by graph and search."""
    random = Random(seed)
    executor = Serial(random)
    for _ in range(min(count, 40)):
        step = random.choice((Write(key="r", value=executor.value()), Look(key="r")))
        executor.ask(random.randrange(4), [step])
    history = executor.history()
    looks = [one for one in history if isinstance(one.steps[0], Look)]
    if looks and random.random() < 0.5:
        # One look shows what another saw: often wrong, sometimes just as possible.
        one, other = random.choice(looks), random.choice(looks)
        spoiled = Recorder(iter(range(10_000)).__next__)
        for each in history:
            number = spoiled.invoke(each.client, each.steps)
            spoiled.succeed(number, other.steps if each is one else each.steps)
        history = spoiled.history()
    is_linear = decide(touches(history, "r")) is Verdict.YES
    assert (find_problems(history) == []) is is_linear


def test_the_search_says_when_it_gives_up() -> None:
    """Beyond its bound it decides nothing, rather than guessing."""
    crowd = [Touch(is_write=True, value=n, invoked_ns=0, ended_ns=100) for n in range(12)]
    impossible = Touch(is_write=False, value=99, invoked_ns=200, ended_ns=201)
    assert decide([*crowd, impossible], states_max=1_000) is Verdict.TOO_MUCH


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("A 0-9: write r =1\nB 1-2: look r 1=1\nB 3-4: look r 1=1", Verdict.YES),
        ("A 0-9: write r =1\nB 1-2: look r 1=1\nB 3-4: look r", Verdict.NO),
        ("A 0-? unknown: write r =1\nB 1-2: look r\nB 3-4: look r 1=1", Verdict.YES),
        ("A 0-? unknown: write r =1\nB 1-2: look r", Verdict.YES),
        ("A 0-1 fail: write r =1\nB 2-3: look r 1=1", Verdict.NO),
    ],
)
def test_small_registers(text: str, verdict: Verdict) -> None:
    """New values are never unseen again; an unknown write may be late or never."""
    assert decide(touches(spell(text), "r")) is verdict
