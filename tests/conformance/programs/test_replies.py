"""`os.reply` is `os.answer` and `os.pull` in one, and exits leave no trace in reused memory."""

from __future__ import annotations

from tests.conformance.programs.benches import Bench, in_both_modes


@in_both_modes
async def test_reply_answers_and_takes_the_next_event(bench: Bench) -> None:
    """A server made of one reply after another serves every call in order."""
    ran = await bench.run(
        """
        local ctx = os.context()
        os.bind(ctx, "double")
        assert(os.run_code([[
          local sum = 0
          for i = 1, 20 do
            local status, value = os.request(0, "double", i, nil, i)
            assert(status == 0, value)
            sum = sum + value
          end
          return sum
        ]], { context = ctx }))
        local event = os.pull()
        local seen = 0
        while event.type == "call" do
          seen = seen + 1
          assert(event.args.n == 3 and event.args[2] == nil and event.args[3] == seen)
          event = os.reply(event.cid, 0, 2 * event.args[1])
        end
        return event.type, event.values[1], seen
        """
    )
    # The child's context 0 is named in the order in which events come: first its open, if any.
    assert ran.values == ["exit", 420, 20]


@in_both_modes
async def test_a_refused_reply_returns_at_once(bench: Bench) -> None:
    """Answering a call that is not there does not wait for an event that never comes."""
    ran = await bench.run(
        "local event, status, message = os.reply(123, 0)\n"
        "return event == nil, os.status_name(status), type(message)"
    )
    assert ran.values == [True, "call.not_found", "string"]


@in_both_modes
async def test_contexts_travel_with_a_reply(bench: Bench) -> None:
    """A reply hands a context on as an answer does."""
    ran = await bench.run(
        """
        local ctx, inner = os.context(), os.context()
        os.bind(ctx, "open")
        os.bind(inner, "name")
        assert(os.run_code([[
          local status, object = os.request(0, "open")
          local status, name = os.request(object, "name")
          os.close(object)
          return name
        ]], { context = ctx }))
        local event = os.pull()
        event = os.reply(event.cid, 0, os.share(inner))
        event = os.reply(event.cid, 0, event.name .. event.ctx - inner)
        local closed = event.type .. " " .. event.ctx - inner
        event = os.pull()
        while event.type ~= "exit" do event = os.pull() end
        return closed, event.values[1]
        """
    )
    assert ran.values == ["close 0", "name0"]


@in_both_modes
async def test_an_exit_inside_anything_ends_the_process_whole(bench: Bench) -> None:
    """Exit goes through pcall, coroutines and sorts, and the next process starts clean."""
    for code in (
        "pcall(function() leak = 1 os.exit(5) end) error('not reached')",
        "coroutine.wrap(function() leak = 1 os.exit(5) end)() error('not reached')",
        "table.sort({3, 2, 1}, function() leak = 1 os.exit(5) end) error('not reached')",
        "setmetatable({}, {__close = 1, __gc = function() leak = 1 end}) os.exit(5)",
    ):
        ran = await bench.run(code)
        assert (ran.exit["status"], ran.exit["code"]) == (5, "process.exited")
        assert (await bench.run("return leak")).values == [None]
