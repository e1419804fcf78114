"""The native calls that need this node, as a table that code and documents share.

Invariant: `native_calls` and `code_calls` perform each row; KIND stands for program, library and
runtime.
"""

from __future__ import annotations

from typing import Final

from lithox.dispatch.programs.natives import NativeEntry, Perform
from lithox.modules.code import KINDS

_NODE: Final = """
log.write       | level, text  |         | no  | Writes a line of the node's log.
time.now        |              | ms      | no  | Milliseconds since 1970.
node.info       |              | info    | no  | What this node is.
process.list    |              | rows    | no  | All programs that run.
process.info    | pid          | row     | no  | One program.
process.kill    | pid          |         | no  | Ends a process and its children.
entity.request  | entity, handler, args[, options] | value | yes | Runs a handler as a request \
of its own, under this context's identity; answered when it is durable. Options: `id`, \
`timeout_ms`.
registry.get    | key          | value   | no  | A value of the node's registry, nil when there \
is none.
registry.put    | key, value   |         | yes | Sets one; whoever listens to the queue \
`registry` of init's context 0 hears the key.
registry.delete | key          |         | yes | Removes one.
registry.list   | [prefix[, after[, limit]]] | rows, more | no | Keys and values in order.
device.size     |              | bytes   | no  | Size of the block device.
device.read     | offset, count | bytes  | no  | Bytes of the block device the system stands on.
device.write    | offset, bytes |        | yes | Writes them, in one commit.
output.open     | kind, name   | context | no  | A terminal for a process's `output`; kind: \
`log` (a service's file) or `session` (a run somebody watches).
init.serve      | ctx          |         | no  | Says that the node's own calls go to this \
context of the calling process, which must be init.
context.take    | pid, ctx     | context | no  | Takes a share of a context that a descendant \
of this process owns, by its number there: how what a service offers reaches who has started it.
"""
_CODE: Final = """
KIND.get      | name[, version] | text, info | no | The text of a KIND, its newest version if \
none is named.
KIND.set      | name, text[, note[, options]] | version | yes | Publishes a KIND under a name; \
what runs keeps its text. Options: `runtime`.
KIND.list     | [prefix[, after[, limit]]] | rows, more | no | Names in order, with their \
newest version.
KIND.history  | name            | rows       | no | Its versions, newest first.
KIND.rollback | name, version   | version    | yes | Makes an old version the newest again.
KIND.remove   | name            | version    | yes | Takes a name out of the store.
"""


def _rows(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.split("|")] for line in text.strip().splitlines()]


NODE_ROWS: Final = _rows(_NODE)
CODE_ROWS: Final = {kind: _rows(_CODE.replace("KIND", kind)) for kind in KINDS}


def entry_of(row: list[str], perform: Perform) -> NativeEntry:
    """Returns a row of the table with what performs it."""
    name, arguments, values, waits, doc = row
    return NativeEntry(
        name=name,
        arguments=arguments,
        values=values,
        waits=waits == "yes",
        doc=doc,
        perform=perform,
    )
