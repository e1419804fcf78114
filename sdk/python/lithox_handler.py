"""How does a handler in CPython look, when it is a component?

The one module an author imports. `componentize-py` makes a component of the application, this file
and CPython (docs/how-to/components.md):

    from lithox_handler import HandlerError, WitWorld, handler

    @handler
    def increment(self, by=1):
        self.state["count"] = self.state.get("count", 0) + by
        return self.state["count"]

`self` is a `Run`. Values are None, bool, int, float, str, bytes, list and dict with text keys;
bytes, and dicts whose first key begins with `$`, are escaped on their way: nobody needs to know.
Values that came out of `self.state` are followed: they are compared with what was loaded before the
node is asked for anything that depends on them, and at the end of the run.

This file runs inside the component, on the Python that `componentize-py` brings; of `lithox` it
imports nothing.
"""

import base64
import inspect
import json
import random
import traceback
from collections.abc import MutableMapping

import wit_world
from componentize_py_types import Err
from wit_world.imports import host

PAGE_KEYS = 128
"""Keys the node is asked for at once in a scan."""
PIECE_BYTES = 65_536
"""Bytes of a big value that are read or written at once: the world's bound."""
_ABSENT = object()
_NO_HANDLERS = (
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
    inspect.isgeneratorfunction,
)
"""Calling one of these runs nothing of it."""


class HandlerError(Exception):
    """An error with a code of its own; what the node refuses is raised as one, too.

    Attributes:
        code: such as `sold_out`; the caller sees `app.sold_out`. Of a refusal the node's own code.
        message: one sentence.
        data: plain data that goes with it, or None.
    """

    def __init__(self, code, message="", data=None):
        super().__init__(message or code)
        self.code = code
        self.message = message or code
        self.data = data


_handlers = {}


def handler(function, name=None):
    """Makes a function a handler, under its own name or, as `@handler("range")`, another.

    Handlers whose names begin with `_` cannot be called.

    Raises:
        TypeError: it is no plain function; the build of the component ends with that.
    """
    if isinstance(function, str):
        return lambda decorated: handler(decorated, function)
    if not inspect.isfunction(function) or any(is_kind(function) for is_kind in _NO_HANDLERS):
        shown = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"{shown}: a handler in a component is a plain function, `def {shown}(self, ...)`, "
            "without `async` or `yield`; the methods of self answer at once and are not awaited"
        )
    _handlers[name or function.__name__] = function
    return function


def encode(value):
    """Returns a value as JSON text; raises TypeError or ValueError for what is no plain data."""
    return json.dumps(_escape(value, 0), allow_nan=False, separators=(",", ":"))


def decode(text):
    """Returns the value that JSON text of the node's stands for."""
    return _unescape(json.loads(text))


def _escape(value, depth):
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if depth >= 64:
        raise ValueError("values nest at most 64 levels deep")
    if kind in (list, tuple):
        return [_escape(item, depth + 1) for item in value]
    if kind is not dict:
        raise TypeError(f"a {kind.__name__} is no plain value")
    plain = {}
    for key, item in value.items():
        if type(key) is not str:
            raise TypeError(f"keys of a map are text; found {type(key).__name__}")
        plain[key] = _escape(item, depth + 1)
    if plain and next(iter(plain)).startswith("$"):
        return {"$map": plain}
    return plain


def _unescape(value):
    kind = type(value)
    if kind is list:
        return [_unescape(item) for item in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        if "$map" in value:
            value = value["$map"]
    return {key: _unescape(item) for key, item in value.items()}


def _ask(function, *arguments):
    """Calls a function of the host; raises what it refuses."""
    try:
        return function(*arguments)
    except Err as error:
        refused = error.value
        raise HandlerError(refused.code, refused.message, decode(refused.data)) from None


def _ask_state(function, *arguments):
    """As `_ask`; a key or value that cannot be is a ValueError, as Python's own mistakes are."""
    try:
        return _ask(function, *arguments)
    except HandlerError as error:
        if error.code != "request.bad_arguments":
            raise
        raise ValueError(error.message) from None


class State(MutableMapping):
    """The entity's own durable map, `self.state`.

    A value taken out of it may be changed in place: it is compared when the run ends.
    """

    def __init__(self):
        self._live = {}
        self._dirty = set()
        # Key -> JSON of a list or map as the node has it: only these change in place.
        self._told = {}

    def _load(self, key):
        if key not in self._live:
            text = _ask_state(host.get, key)
            self._keep(key, _ABSENT if text is None else decode(text))
        return self._live[key]

    def _keep(self, key, value):
        self._live[key] = value
        if type(value) in (list, dict):
            self._told[key] = encode(value)

    def __getitem__(self, key):
        value = self._load(key)
        if value is _ABSENT:
            raise KeyError(key)
        return value

    def __setitem__(self, key, value):
        self._live[key] = _ABSENT if value is None else value
        self._dirty.add(key)

    def __delitem__(self, key):
        if key not in self:
            raise KeyError(key)
        self[key] = None

    def __contains__(self, key):
        return self._load(key) is not _ABSENT

    def __iter__(self):
        return (key for key, _ in _pages(self, host.scan, ("",), None))

    def __len__(self):
        return sum(1 for _ in self)

    def flush(self):
        """Tells the node what has changed."""
        self.flush_assigned()
        for key, told in self._told.items():
            text = encode(self._live[key])
            if text != told:
                _ask_state(host.put, key, text)
                self._told[key] = text

    def flush_assigned(self):
        """Tells the node what was assigned or deleted; what changed in place waits."""
        for key in sorted(self._dirty):
            value = self._live[key]
            self._told.pop(key, None)
            if value is _ABSENT:
                _ask_state(host.delete, key)
                continue
            text = encode(value)
            _ask_state(host.put, key, text)
            if type(value) in (list, dict):
                self._told[key] = text
        self._dirty.clear()

    def follow(self, key, text):
        """Returns the value of a key that a scan has shown, as `self.state[key]` is."""
        if key not in self._live:
            self._keep(key, decode(text))
        return self._live[key]

    def forget(self, key=None):
        """Drops what is known of a key, or of all: others may have written."""
        for known in (self._live, self._told):
            known.clear() if key is None else known.pop(key, None)


def _pages(state, function, area, after):
    """Yields (key, JSON) page by page; keys added and deleted on the way are seen."""
    more = True
    while more:
        state.flush_assigned()
        page = _ask(function, *area, after, PAGE_KEYS)
        for key, text in page.items:
            after = key
            yield key, text
        more = page.more


def _scan(state, function, area, after):
    """Yields (key, value); the values are followed."""
    for key, text in _pages(state, function, area, after):
        yield key, state.follow(key, text)


class Reader:
    """A big value, piece by piece.

    Attributes:
        size: bytes.
        digest: SHA-256 of them in hexadecimal digits.
    """

    def __init__(self, key, told):
        self._key = key
        self._offset = 0
        self.size = told.size
        self.digest = told.digest

    def read(self, size=PIECE_BYTES):
        """Returns the next bytes, fewer at the end, b"" there."""
        pieces = []
        while size > 0:
            wanted = min(size, PIECE_BYTES)
            piece = _ask(host.big_read, self._key, self.digest, self._offset, wanted)
            self._offset += len(piece)
            size -= len(piece)
            pieces.append(piece)
            if len(piece) < wanted:
                break
        return b"".join(pieces)

    def seek(self, offset):
        """Moves to a place counted from 0 and returns it."""
        self._offset = offset
        return offset


class Writer:
    """A big value that is being written; it counts once it is closed."""

    def __init__(self, run, key, token):
        self._run = run
        self._key = key
        self._token = token

    def write(self, data):
        """Adds bytes; returns the writer."""
        for start in range(0, len(data), PIECE_BYTES):
            _ask(host.big_write, self._key, self._token, data[start : start + PIECE_BYTES])
        return self

    def close(self):
        """Puts the value under its key; returns its digest."""
        self._run.state.flush()
        digest = _ask(host.big_close, self._key, self._token)
        self._run.state.forget(self._key)
        return digest


class Run:
    """`self` of a handler."""

    def __init__(self, info):
        self._info = info
        self._generation = 0
        self._tokens = 0
        self.state = State()

    @property
    def id(self):
        """Path of the entity."""
        return self._info.entity

    @property
    def caller(self):
        """Who asked."""
        return self._info.caller

    @property
    def request_id(self):
        """The request's id, or None."""
        return self._info.request_id

    @property
    def attempt(self):
        """1 at the first try."""
        return self._info.attempt

    def now(self):
        """Returns the run's start in milliseconds since 1970."""
        return self._info.now

    def usage(self):
        """Returns {"used": {...}, "allowed": {...}}."""
        return decode(_ask(host.usage))

    def log(self, level, text, fields=None):
        """Writes a log line; level is debug, info, warning or error."""
        found = getattr(host.Level, str(level).upper(), None)
        if found is None:
            raise ValueError("a log level is debug, info, warning or error")
        _ask(host.log, found, text, encode(fields))

    def scan(self, prefix="", after=None):
        """Yields (key, value) of keys that begin with `prefix`, by their bytes."""
        return _scan(self.state, host.scan, (prefix,), after)

    def range(self, first="", end=None, after=None):
        """Yields (key, value) from `first` to before `end`."""
        return _scan(self.state, host.range, (first, end), after)

    def call(self, entity, handler, *arguments):
        """Runs another entity's handler inside this transaction; returns what it returned."""
        self.state.flush()
        text = _ask(host.call, entity, handler, encode(arguments))
        generation = host.generation()
        if generation != self._generation:
            # A cycle of calls has changed this state; what is needed is asked for again.
            self._generation = generation
            self.state.forget()
        return decode(text)

    def request(self, entity, handler, *arguments):
        """Runs another entity's handler as a request of its own."""
        return decode(_ask(host.request, entity, handler, encode(arguments)))

    def send(self, entity, handler, *arguments):
        """Sends a message when this run commits; returns its id."""
        return _ask(host.send, entity, handler, encode(arguments))

    def schedule(self, **options):
        """Sets a timer: handler, args, after | at | every | cron, zone, name, missed; its id."""
        said = {name: value for name, value in options.items() if value is not None}
        return _ask(host.schedule, encode(said))

    def after(self, ms, handler, *arguments):
        """Sets a timer that is due in so many milliseconds; its id."""
        return self.schedule(handler=handler, args=arguments, after=ms)

    def at(self, ms, handler, *arguments):
        """Sets a timer that is due at a moment (milliseconds since 1970); its id."""
        return self.schedule(handler=handler, args=arguments, at=ms)

    def every(self, ms, handler, *arguments):
        """Sets a timer that comes again and again; its id."""
        return self.schedule(handler=handler, args=arguments, every=ms)

    def cron(self, line, handler, *arguments):
        """Sets a timer by a cron line; its id."""
        return self.schedule(handler=handler, args=arguments, cron=line)

    def cancel(self, id):
        """Ends a timer; returns whether there was one."""
        return _ask(host.cancel, id)

    def timers(self, after=None):
        """Returns tuple of (list of this entity's timers by id, whether there are more)."""
        text, more = _ask(host.timers, after)
        return decode(text), more

    def reader(self, key):
        """Returns a reader of a big value, None when there is no such key."""
        self.state.flush()
        told = _ask(host.big_open, key)
        return None if told is None else Reader(key, told)

    def writer(self, key):
        """Returns a writer of a new big value."""
        self._tokens += 1
        return Writer(self, key, self._tokens)


def _fit(handler, arguments):
    """Returns the arguments as the handler takes them: surplus ones go, missing ones are None."""
    code = _handlers[handler].__code__
    if code.co_flags & inspect.CO_VARARGS:
        return arguments
    count = code.co_argcount - 1
    required = count - len(_handlers[handler].__defaults__ or ())
    return arguments[:count] + [None] * (required - len(arguments))


def _failure(code, message, data, where):
    try:
        text = encode(data)
    except (TypeError, ValueError):
        text = "null"
    return Err(host.Error(code, message, text, where))


class WitWorld(wit_world.WitWorld):
    """What the node calls; import it into the application's module."""

    def handlers(self):
        """Returns the names of the handlers."""
        return sorted(_handlers)

    def run(self, handler, arguments):
        """Runs one handler."""
        info = host.info()
        random.seed(info.seed)
        run = Run(info)
        try:
            result = encode(_handlers[handler](run, *_fit(handler, decode(arguments))))
            run.state.flush()
        except MemoryError:
            host.out_of_memory()
            raise
        except HandlerError as error:
            raise _failure(error.code, error.message, error.data, _where(error)) from None
        except Exception as error:
            text = "".join(traceback.format_exception_only(error)).strip()
            raise _failure("", text, None, _where(error)) from None
        return result


def _where(error):
    """Returns the traceback without this file's own part at its beginning."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(traceback.format_list(frames[1:])).rstrip()
