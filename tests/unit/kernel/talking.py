"""A node of processes without guests: each is always on a processor unless a test says else."""

from __future__ import annotations

from typing import Any

from lithox.kernel import Kernel, Lane, Mode, Policy, SliceEnd, Spawn, WaitKind
from lithox.model.ids import AccountName, Pid

ARGS = b"\x91\x01"
NONE = b"\x90"


class Talk:
    """A kernel and short words for what its processes do."""

    def __init__(self, **policy: Any) -> None:
        self.kernel = Kernel(Policy(**policy))
        self.it = self.kernel.interactions
        self.now_ns = 0

    def start(self, account: str = "a", parent: Pid | None = None) -> Pid:
        """Spawns a process, lets it enter and takes it onto a processor."""
        name = AccountName(account)
        spec = Spawn(account=name, name="n", parent=parent, mode=Mode.PREEMPTIVE)
        pid = self.kernel.notify_spawned(spec, self.now_ns)
        assert pid is not None
        self.it.enter(pid, name)
        assert self.kernel.next_slice_of(pid, self.now_ns) is not None
        return pid

    def serve(self, pid: Pid, *names: str) -> int:
        """Makes a context with these names bound."""
        ctx = self.it.make_context(pid)
        for name in names:
            self.it.bind(pid, ctx, name)
        return ctx

    def call(self, pid: Pid, ctx: int, name: str = "f", args: bytes = ARGS) -> int:
        return self.it.call(pid, ctx, name, args, None, self.now_ns)

    def request(self, pid: Pid, ctx: int, name: str = "f") -> int:
        return self.it.call(pid, ctx, name, ARGS, None, self.now_ns, is_blocking=True)

    def block(self, pid: Pid, ctx: int) -> int:
        """Makes a request and leaves the processor until it is answered."""
        cid = self.request(pid, ctx)
        assert self.it.wait(pid, WaitKind.ANSWER, cid=cid)
        self.ask(pid)
        return cid

    def answer(self, pid: Pid, cid: int, *shared: int, args: bytes = ARGS) -> None:
        self.it.answer(pid, cid, 0, args, list(shared), self.now_ns)

    def ask(self, pid: Pid) -> None:
        self.kernel.notify_sliced(pid, SliceEnd.ASKED, 1, 0, self.now_ns)

    def finish(self, pid: Pid) -> None:
        self.kernel.notify_sliced(pid, SliceEnd.FINISHED, 1, 0, self.now_ns)

    def kill(self, pid: Pid) -> None:
        """Kills and, if it was on a processor, brings its slice back."""
        self.kernel.notify_killed(pid, "request.cancelled", self.now_ns)
        if self.kernel.find(pid) is not None:
            self.kernel.notify_sliced(pid, SliceEnd.YIELDED, 1, 0, self.now_ns)

    def close(self, pid: Pid, ctx: int) -> None:
        self.it.close(pid, ctx, self.now_ns)

    def pull(self, pid: Pid) -> Any:
        return self.it.pull(pid)

    def events(self, pid: Pid) -> list[Any]:
        """Takes all events."""
        found: list[Any] = []
        while (event := self.it.pull(pid)) is not None:
            found.append(event)
        return found

    def pass_time(self, step_ns: int) -> None:
        self.now_ns += step_ns
        self.kernel.notify_time(self.now_ns)

    def resume(self, pid: Pid) -> Any:
        """Takes a process that was woken onto a processor; returns what ended its wait."""
        for lane in Lane:
            while (piece := self.kernel.next_slice(lane, self.now_ns)) is not None:
                if piece.pid == pid:
                    return self.it.take_outcome(pid)
        raise AssertionError(f"process {pid} was not woken")


def make_pair(**policy: int) -> tuple[Talk, Pid, Pid, int, int]:
    """Returns (talk, owner, client, the owner's number, the client's): `f` is bound."""
    talk = Talk(**policy)
    owner, client = talk.start(), talk.start("b")
    ctx = talk.serve(owner, "f")
    return talk, owner, client, ctx, talk.it.grant(owner, ctx, client)
