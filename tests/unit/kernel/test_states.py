"""The table of moves: it agrees with itself, with the sandbox, and with its picture in the docs."""

from __future__ import annotations

from pathlib import Path

from lithox.kernel import SliceEnd
from lithox.kernel.calls import draw_call_life
from lithox.kernel.contexts import draw_number_life
from lithox.kernel.states import MOVES, STATE_OF, Fact, Phase, draw_mermaid
from lithox.sandbox.contract import StepKind

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "scheduling.md"


def test_every_fact_has_a_row_for_every_phase() -> None:
    """The table is total: a fact in a phase is either a move or explicitly our bug."""
    assert set(MOVES) == set(Fact)
    assert {len(row) for row in MOVES.values()} == {len(Phase) - 1} == {len(STATE_OF)}


def test_nothing_leaves_gone_and_everything_can_get_there() -> None:
    """From each phase a chain of facts leads to the end."""
    ends = {Phase.GONE}
    for _ in Phase:
        ends |= {
            phase
            for phase in Phase
            if phase is not Phase.GONE and any(row[phase] in ends for row in MOVES.values())
        }
    assert ends == set(Phase)


def test_a_zombie_only_ever_goes() -> None:
    """Whatever its last slice came to, a killed process is never scheduled again."""
    after = {row[Phase.ZOMBIE] for row in MOVES.values()}
    assert after == {None, Phase.ZOMBIE, Phase.GONE}


def test_slice_ends_have_the_sandbox_numbers() -> None:
    """A step's kind can be handed to the kernel as it is."""
    assert [int(SliceEnd.YIELDED), int(SliceEnd.ASKED), int(SliceEnd.FINISHED)] == [
        int(StepKind.YIELDED),
        int(StepKind.ASKED),
        int(StepKind.FINISHED),
    ]
    assert int(SliceEnd.ENDED) == int(StepKind.ENDED)


def test_the_diagram_in_the_docs_is_the_table() -> None:
    """docs/explanation/scheduling.md shows the diagram drawn from the code's own table."""
    assert f"```mermaid\n{draw_mermaid()}```\n" in PAGE.read_text("utf-8")


def test_the_lives_of_numbers_and_calls_on_their_page_are_the_tables() -> None:
    """The diagrams in docs/explanation/processes.md are what the kernel's tables draw."""
    page = PAGE.with_name("processes.md").read_text("utf-8")
    for drawn in (draw_number_life(), draw_call_life()):
        assert f"```mermaid\n{drawn}```\n" in page
