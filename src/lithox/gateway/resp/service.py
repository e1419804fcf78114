"""The table of commands, and those that speak of the connection and not of entities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from lithox.errors import BadArguments, Unauthenticated
from lithox.gateway.ports import GatewayNode
from lithox.gateway.resp.bounds import RespBounds
from lithox.gateway.resp.calls import atomic, call, call_with, later, result, tagged
from lithox.gateway.resp.connection import RespConnection
from lithox.gateway.resp.parsing import Command
from lithox.gateway.resp.replies import OK, PONG, encode_fault, encode_reply
from lithox.gateway.resp.shared import Perform, RespService
from lithox.gateway.resp.words import read_text
from lithox.gateway.settings import GatewaySettings
from lithox.security.identities import TOKEN_CHARACTERS_MAX

ANY_USER: Final = b"default"
"""The user that Redis clients name when they were told none."""
NAME_BYTES_MAX: Final = 128
_SHOWN: Final = 40
_Reply = Callable[[RespConnection, Command], bytes | None]


def perform(connection: RespConnection, words: Command) -> bytes | None:
    """Does one command; raises what refuses it."""
    if not words:
        # As in Redis: an empty array is no command and has no answer.
        return b""
    name = words[0]
    found = _COMMANDS.get(name) or _COMMANDS.get(name.upper())
    if found is None:
        shown = name[:_SHOWN].decode("ascii", "backslashreplace")
        return encode_fault("ERR", f"unknown command {shown!r}; COMMAND lists those there are")
    return found(connection, words)


def open_resp(
    node: GatewayNode, settings: GatewaySettings, bounds: RespBounds | None = None
) -> RespService:
    """Returns what connections of one gateway share."""
    return RespService(
        node=node,
        settings=settings,
        perform=_PERFORM,
        bounds=RespBounds() if bounds is None else bounds,
    )


def ping(connection: RespConnection, words: Command) -> bytes:
    if len(words) == 1:
        return PONG
    return echo(connection, words)


def echo(_connection: RespConnection, words: Command) -> bytes:
    if len(words) != 2:
        raise BadArguments("the form is ECHO text or PING [text]")
    return b"$%d\r\n%b\r\n" % (len(words[1]), words[1])


def hello(connection: RespConnection, words: Command) -> bytes:
    """HELLO [2|3 [AUTH user token] [SETNAME name]]: the version from here on, and who speaks."""
    at, version = 2, connection.is_resp3
    if len(words) > 1:
        if words[1] not in {b"2", b"3"}:
            return encode_fault("NOPROTO", "unsupported protocol version; known are 2 and 3")
        version = words[1] == b"3"
    while at < len(words):
        option = words[at].upper()
        if option == b"AUTH" and at + 2 < len(words):
            _authenticate(connection, words[at + 1], words[at + 2])
            at += 3
        elif option == b"SETNAME" and at + 1 < len(words):
            _set_name(connection, words[at + 1])
            at += 2
        else:
            raise BadArguments("the form is HELLO [2|3 [AUTH user token] [SETNAME name]]")
    caller = connection.caller or connection.identified()
    connection.is_resp3 = version
    told: dict[str, Any] = {
        "server": "lithox",
        "version": str(connection.node.info().get("version", "")),
        "proto": 3 if version else 2,
        "id": connection.id,
        "mode": "standalone",
        "role": "master",
        "modules": [],
        "identity": str(caller.identity),
        "command_bytes_max": connection.service.settings.body_bytes_max,
    }
    return encode_reply(told, is_resp3=version)


def auth(connection: RespConnection, words: Command) -> bytes:
    """AUTH [user] token: who speaks from here on."""
    if len(words) not in {2, 3}:
        raise BadArguments("the form is AUTH [user] token")
    user = words[1] if len(words) == 3 else ANY_USER
    _authenticate(connection, user, words[-1])
    return OK


def _authenticate(connection: RespConnection, user: bytes, token: bytes) -> None:
    """Finds out who holds a token; one that is not known leaves the caller unknown."""
    connection.set_caller(None)
    text = token.decode("latin-1")[: TOKEN_CHARACTERS_MAX + 1]
    is_loopback = connection.service.settings.is_loopback
    caller = connection.node.identify(text, is_loopback=is_loopback)
    if user not in {ANY_USER, caller.identity.encode()}:
        raise Unauthenticated("the token is not that user's: say its own name, or 'default'")
    connection.set_caller(caller)


def client(connection: RespConnection, words: Command) -> bytes:
    """CLIENT ID | GETNAME | SETNAME name | SETINFO attribute value."""
    part = words[1].upper() if len(words) > 1 else b""
    if part == b"ID" and len(words) == 2:
        return encode_reply(connection.id, is_resp3=connection.is_resp3)
    if part == b"GETNAME" and len(words) == 2:
        return encode_reply(connection.name or None, is_resp3=connection.is_resp3)
    if part == b"SETNAME" and len(words) == 3:
        _set_name(connection, words[2])
        return OK
    if part == b"SETINFO" and len(words) == 4:
        return OK
    return encode_fault("ERR", "CLIENT takes ID, GETNAME, SETNAME name or SETINFO attribute value")


def _set_name(connection: RespConnection, name: bytes) -> None:
    if len(name) > NAME_BYTES_MAX or not name.isascii() or not name.decode().isprintable():
        raise BadArguments(f"a name has at most {NAME_BYTES_MAX} printable characters")
    connection.name = read_text(name, "a name")


def select(_connection: RespConnection, words: Command) -> bytes:
    if words[1:] != [b"0"]:
        return encode_fault("ERR", "there is one database, 0")
    return OK


def reset(connection: RespConnection, _words: Command) -> bytes:
    """RESET: as if the connection were new."""
    connection.set_caller(None)
    connection.is_resp3, connection.name = False, ""
    return b"+RESET\r\n"


def leave(connection: RespConnection, _words: Command) -> bytes:
    return connection.quit()


def command(connection: RespConnection, words: Command) -> bytes:
    """COMMAND [COUNT | DOCS [name ...] | LIST]: what there is, as redis-cli asks at its start."""
    part = words[1].upper() if len(words) > 1 else b""
    if part == b"COUNT":
        return encode_reply(len(_SUMMARIES), is_resp3=connection.is_resp3)
    if part == b"LIST":
        return encode_reply(list(_SUMMARIES), is_resp3=connection.is_resp3)
    if part == b"DOCS":
        wanted = {word.decode("ascii", "replace").upper() for word in words[2:]}
        docs = {
            name.lower(): {"summary": text, "group": "lithox"}
            for name, text in _SUMMARIES.items()
            if not wanted or name in wanted
        }
        return encode_reply(docs, is_resp3=connection.is_resp3)
    return encode_reply([], is_resp3=connection.is_resp3)


def info(connection: RespConnection, _words: Command) -> bytes:
    """INFO: what the node says of itself, one `name:value` a line."""
    connection.identified()
    rows = connection.node.info()
    # Lists with spaces: redis-py would cut them at commas.
    lines = ["# Server", *(f"{name}:{_in_a_line(value)}" for name, value in rows.items())]
    return encode_reply("\r\n".join(lines) + "\r\n", is_resp3=connection.is_resp3)


def _in_a_line(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, cast("list[Any]", value)))
    return str(value)


_COMMANDS: Final[dict[bytes, _Reply]] = {
    b"CALL": call,
    b"CALLWITH": call_with,
    b"ATOMIC": atomic,
    b"ASYNC": later,
    b"RESULT": result,
    b"TAG": tagged,
    b"PING": ping,
    b"ECHO": echo,
    b"HELLO": hello,
    b"AUTH": auth,
    b"CLIENT": client,
    b"COMMAND": command,
    b"INFO": info,
    b"SELECT": select,
    b"RESET": reset,
    b"QUIT": leave,
}
_SUMMARIES: Final = {
    "CALL": "Runs a handler: CALL entity handler [argument ...]",
    "CALLWITH": "Runs a handler with options before its arguments",
    "ATOMIC": "Runs several calls in one transaction",
    "ASYNC": "Has a call accepted and answers with its request id",
    "RESULT": "Tells what a request came to",
    "TAG": "Does a command whose answer comes with its tag, out of order",
    "PING": "Answers PONG, or what it was given",
    "ECHO": "Answers what it was given",
    "HELLO": "Chooses the version of the protocol and says who speaks",
    "AUTH": "Says who speaks, by a token",
    "CLIENT": "Names the connection, or tells its number",
    "COMMAND": "Lists the commands",
    "INFO": "Tells what the node is",
    "SELECT": "Takes 0, the only database",
    "RESET": "Makes the connection as good as new",
    "QUIT": "Ends the connection",
}
_PERFORM: Final[Perform] = perform
