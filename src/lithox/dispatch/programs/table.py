"""The system calls of programs, as a table that code and documents share.

Invariant: `syscalls.Syscalls` has a method for each row, and docs/reference/native.md a line.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class SyscallRow(NamedTuple):
    """What one system call takes and gives.

    Attributes:
        name: second element of the message.
        arguments: those after it, in order; `timeout` and times are milliseconds or nil.
        values: what follows status 0 in the answer.
        waits: whether the process may wait in it.
        doc: one sentence.
    """

    name: str
    arguments: str
    values: str
    waits: bool
    doc: str


_TEXT: Final = """
call     | ctx, name, timeout, args        | cid             | no  | Calls a name; the answer comes as an event.
request  | ctx, name, timeout, args        | ...             | yes | Calls a name and waits for the answer.
answer   | cid, status, nil, args, shared  | true            | no  | Answers a call; contexts may travel.
reply    | cid, status, timeout, args, shared | event        | yes | Answers a call, then takes the next event.
context  |                                 | ctx             | no  | Makes a context this process owns.
close    | ctx                             | true            | no  | Gives a context up; its owner ends it.
revoke   | ctx, pid                        | count           | no  | Takes a context back, from one holder or all.
bind     | ctx, name                       | true            | no  | Says that calls of this name are taken.
unbind   | ctx, name                       | true            | no  | Withdraws a binding.
push     | ctx, queue, nil, args           | delivered, lost | no  | Sends a message to the listeners.
listen   | ctx, queue, limit, overflow     | true            | no  | Hears messages of a queue.
unlisten | ctx, queue                      | true            | no  | Hears them no more.
pull     | timeout                         | event           | yes | Takes the next event.
sleep    | ms                              |                 | yes | Waits; events are kept meanwhile.
run      | text, name, options, args       | pid             | no  | Starts a process.
exit     | status, values                  | never returns   | no  | Ends this process.
kill     | pid, reason                     | true            | no  | Ends a descendant; its exit event tells the reason.
info     | pid                             | info            | no  | Tells about this process or a descendant.
usage    |                                 | usage           | no  | Tells what was used and what is allowed.
time     |                                 | ms              | no  | Tells the milliseconds since 1970.
write    | stream, text                    | true            | yes | Writes to the terminal; waits while it is full.
read     | bytes_max, timeout              | text            | yes | Reads from the terminal; nil at the end.
log      | level, text                     | true            | no  | Writes a line of the node's log.
"""  # noqa: E501 - a table reads best in lines


def _rows() -> tuple[SyscallRow, ...]:
    found: list[SyscallRow] = []
    for line in _TEXT.strip().splitlines():
        name, arguments, values, waits, doc = (part.strip() for part in line.split("|"))
        found.append(SyscallRow(name, arguments, values, waits == "yes", doc))
    return tuple(found)


SYSCALLS: Final = _rows()
