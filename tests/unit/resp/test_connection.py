"""Answers in order, all of a turn in one write, and every bound of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis

from lithox.gateway.resp.bounds import RespBounds
from lithox.gateway.settings import GatewaySettings
from tests.unit.gateway.fake_node import FakeNode
from tests.unit.resp.speaker import Speaker, encode, run

SECOND_NS = 1_000_000_000


async def until(is_so: Callable[[], bool]) -> None:
    """Lets the loop turn until something is so; a test that waits in vain is ended by its time."""
    while not is_so():  # noqa: ASYNC110 - there is nothing to wait for but the turn
        await asyncio.sleep(0)


def open_gates(node: FakeNode, *entities: str) -> None:
    for entity in entities:
        node.gates[entity].set_result(None)


def test_answers_come_in_the_order_of_the_commands() -> None:
    """A run that ends early waits for the answers before it; then all leave in one write."""

    async def body() -> None:
        speaker = Speaker()
        speaker.send("CALL", "a", "wait")
        speaker.connection.data_received(encode("CALL", "b", "echo", 1) + encode("PING"))
        speaker.send("CALL", "c", "wait")
        assert await speaker.settle() == []
        open_gates(speaker.node, "c", "a")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(speaker.transport.written) == 1
        assert speaker.read() == [b"waited", [1], b"PONG", b"waited"]

    run(body())


def test_commands_of_one_read_are_answered_in_one_write() -> None:
    """What a read brings is submitted as a whole and answered as a whole."""

    async def body() -> None:
        speaker = Speaker()
        data = b"".join(encode("CALL", "a", "echo", n) for n in range(20))
        speaker.connection.data_received(data)
        assert len(speaker.node.requests) == 20
        await speaker.settle()
        speaker.connection.data_received(data)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(speaker.transport.written) == 1
        assert speaker.read() == [[n] for n in range(20)]

    run(body())


def test_commands_in_flight_are_bounded() -> None:
    """Above the bound nothing is begun and nothing is read; each answer lets one more begin."""

    async def body() -> None:
        speaker = Speaker(bounds=RespBounds(in_flight_max=2))
        for name in "abcd":
            speaker.send("CALL", name, "wait")
        await speaker.settle()
        assert [one.entity for one in speaker.node.requests] == ["a", "b"]
        assert speaker.transport.is_paused
        open_gates(speaker.node, "b")
        await speaker.settle()
        assert len(speaker.node.requests) == 2, "the order holds its place"
        open_gates(speaker.node, "a")
        assert await speaker.settle() == [b"waited"] * 2
        assert [one.entity for one in speaker.node.requests] == ["a", "b", "c", "d"]
        assert not speaker.transport.is_paused

    run(body())


def test_one_turn_begins_so_many_commands() -> None:
    """A read full of commands lets others run between them."""

    async def body() -> None:
        speaker = Speaker(bounds=RespBounds(turn_commands_max=3))
        speaker.connection.data_received(encode("PING") * 8)
        assert speaker.read() == [b"PONG"] * 3
        assert speaker.transport.is_paused
        await asyncio.sleep(0)
        assert speaker.read() == [b"PONG"] * 3
        assert await speaker.settle() == [b"PONG"] * 2
        assert not speaker.transport.is_paused

    run(body())


def test_a_peer_that_does_not_read_gets_nothing_more_begun() -> None:
    """While the transport is full commands wait; reading on lets them go on."""

    async def body() -> None:
        speaker = Speaker()
        speaker.connection.pause_writing()
        speaker.connection.data_received(encode("CALL", "a", "echo") * 5)
        await speaker.settle()
        assert speaker.node.requests == []
        assert speaker.transport.is_paused
        speaker.connection.resume_writing()
        assert await speaker.settle() == [[]] * 5
        assert not speaker.transport.is_paused

    run(body())


def test_a_peer_that_never_reads_is_cut_off() -> None:
    """After the time a request may take the connection ends, whatever is unsent."""

    async def body() -> None:
        speaker = Speaker(settings=GatewaySettings(receive_ns=1_000))
        speaker.connection.pause_writing()
        await until(lambda: speaker.transport.is_aborted)

    run(body())


def test_held_answers_are_bounded_with_an_error_as_the_last_word() -> None:
    """Answers behind one that is not there yet grow to the bound and no further."""

    async def body() -> None:
        speaker = Speaker(bounds=RespBounds(held_bytes_max=1_000))
        speaker.send("CALL", "a", "wait")
        speaker.connection.data_received(encode("CALL", "b", "echo", "x" * 200) * 50)
        await speaker.settle()
        assert len(speaker.node.requests) == 1 + 50, "they were begun before any was held"
        assert speaker.transport.is_closed
        assert speaker.service.held_bytes == 0
        assert speaker.peers.connections == set()
        open_gates(speaker.node, "a")
        await speaker.settle()

    run(body())


def test_the_last_word_of_a_connection_that_is_given_up() -> None:
    """It says by which bound, as an error with its code."""

    async def body() -> None:
        speaker = Speaker(bounds=RespBounds(held_bytes_all_max=100))
        speaker.send("CALL", "a", "wait")
        speaker.send("ECHO", "x" * 200)
        (error,) = speaker.read()
        assert isinstance(error, hiredis.ReplyError)
        assert str(error) == (
            "request.overloaded more than 100 bytes of answers wait to be read; "
            "read faster or ask for less"
        )
        assert speaker.transport.is_closed

    run(body())


def test_half_of_the_held_bytes_stops_the_beginning() -> None:
    """With much held, no further command is begun, so the bound is hardly ever met."""

    async def body() -> None:
        speaker = Speaker(bounds=RespBounds(held_bytes_max=1_000))
        speaker.send("CALL", "a", "wait")
        for _ in range(10):
            speaker.send("ECHO", "x" * 200)
        await speaker.settle()
        assert not speaker.transport.is_closed
        assert speaker.transport.is_paused
        open_gates(speaker.node, "a")
        assert await speaker.settle() == [b"waited"] + [b"x" * 200] * 10

    run(body())


def test_a_command_that_does_not_become_whole_is_refused() -> None:
    """So is a peer that sends a byte now and then: the time is that of the whole command."""

    async def body() -> None:
        speaker = Speaker(settings=GatewaySettings(receive_ns=20_000_000))
        speaker.connection.data_received(b"*2\r\n$4\r\nEC")
        speaker.connection.data_received(b"H")
        await until(lambda: speaker.transport.is_closed)
        (error,) = speaker.read()
        assert str(error) == "request.bad_arguments the command was not whole after 20ms"

    run(body())


def test_prompt_commands_that_always_overlap_two_reads_are_not_late() -> None:
    """The time runs for one command, not for the state of having begun one."""

    async def body() -> None:
        speaker = Speaker(settings=GatewaySettings(receive_ns=20_000_000))
        ping = encode("PING")
        speaker.connection.data_received(ping[:5])
        loop = asyncio.get_running_loop()
        end, sent = loop.time() + 0.05, 0
        while loop.time() < end:
            speaker.connection.data_received(ping[5:] + ping[:5])
            sent += 1
            await asyncio.sleep(0)
        assert await speaker.settle() == [b"PONG"] * sent
        assert not speaker.transport.is_closed

    run(body())


def test_silence_ends_a_connection_unless_something_is_in_flight() -> None:
    """An idle one is closed; one that waits for an answer is not."""

    async def body() -> None:
        idle = Speaker(bounds=RespBounds(idle_ns=1_000_000))
        busy = Speaker(bounds=RespBounds(idle_ns=1_000_000))
        busy.send("CALL", "a", "wait")
        await until(lambda: idle.transport.is_closed)
        await busy.settle()
        assert not busy.transport.is_closed
        open_gates(busy.node, "a")
        assert await busy.settle() == [b"waited"]
        busy.connection.connection_lost(None)

    run(body())


def test_rubbish_is_refused_behind_the_answers_before_it() -> None:
    """Commands before it are done and answered; the error is the last word."""

    async def body() -> None:
        speaker = Speaker()
        speaker.connection.data_received(encode("CALL", "a", "wait") + b"*x\r\nPING\r\n")
        speaker.send("CALL", "b", "echo")
        assert await speaker.settle() == []
        assert not speaker.transport.is_closed
        open_gates(speaker.node, "a")
        first, error = await speaker.settle()
        assert first == b"waited"
        assert str(error) == (
            "request.bad_arguments a command is a RESP array of bulk strings; found '*x'"
        )
        assert speaker.transport.is_closed
        assert len(speaker.node.requests) == 1

    run(body())


def test_a_lost_connection_leaves_runs_alone_and_holds_nothing() -> None:
    """The runs go on, their answers go nowhere."""

    async def body() -> None:
        speaker = Speaker()
        speaker.send("CALL", "a", "wait")
        speaker.send("ECHO", "x" * 100)
        assert speaker.service.held_bytes > 100
        speaker.connection.connection_lost(None)
        assert speaker.service.held_bytes == 0
        open_gates(speaker.node, "a")
        assert await speaker.settle() == []

    run(body())


def test_the_end_of_input_waits_for_the_answers() -> None:
    """A client that sends and half-closes, as `nc` does, gets what it asked for."""

    async def body() -> None:
        speaker = Speaker()
        speaker.send("CALL", "a", "wait")
        assert speaker.connection.eof_received()
        await speaker.settle()
        assert not speaker.transport.is_closed
        open_gates(speaker.node, "a")
        assert await speaker.settle() == [b"waited"]
        assert speaker.transport.is_closed
        assert not Speaker().connection.eof_received()

    run(body())


def test_a_stop_waits_for_what_is_in_flight_and_then_says_so() -> None:
    """Nothing more is begun; what is not answered when the grace is over is told the truth."""

    async def body() -> None:
        speaker = Speaker()
        speaker.send("CALL", "a", "wait")
        speaker.send("CALL", "b", "wait")
        speaker.connection.shutdown()
        speaker.send("PING")
        open_gates(speaker.node, "a")
        assert await speaker.settle() == [b"waited"]
        (task,) = speaker.peers.tasks
        task.cancel()
        (error,) = await speaker.settle()
        assert str(error).startswith("store.unavailable the node stopped before it could answer")
        assert speaker.transport.is_closed
        idle = Speaker()
        idle.connection.shutdown()
        assert idle.transport.is_closed

    run(body())


def test_a_fault_of_our_own_is_an_answer_that_says_nothing_of_the_inside() -> None:
    """It has the code `internal` and a reference; the connection goes on."""

    async def body() -> None:
        speaker = Speaker()
        answers: list[Any] = [await speaker.ask("CALL", "a", "bug"), await speaker.ask("PING")]
        assert str(answers[0]).startswith("internal lithox failed by a fault of its own")
        assert "secret" not in str(answers[0])
        assert answers[1] == b"PONG"

    run(body())
