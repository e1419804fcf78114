"""What does a handler's `self` do? The text every session begins with, in the worker's Python.

It runs beside the module, in the worker: what it is trusted with is its own entity's writes and no
more. It takes what it needs of the built-in names before the module can give them another meaning,
and keeps it in a closure. The worker's language has no inheritance, generators, properties or
`del`, and its exceptions carry one text; that is why it is written as it is.

`__lithox__(name, text)` is the one call to the node: texts are those of `values.py`, arguments one
list. The node adds what was read. `known` has the text of each key as the node believes it: None
for a key that is absent; what differs at the end, or at a call, is what was written.
"""

from __future__ import annotations

from typing import Final

HOST_NAME: Final = "__lithox__"
MAIN_NAME: Final = "__lithox_main__"
KIND_NAME: Final = "__lithox_kind__"
ARGUMENT_NAMES: Final = ("__lithox_about__", "__lithox_args__", "__lithox_state__")
LOCAL_ERROR: Final = "error"
"""Call: [code, message, data]; the node remembers what an exception of that text stands for."""
LOCAL_ERROR_OF: Final = "error_of"
"""Call: [text] of an exception -> {code, message, data}."""

PRELUDE: Final = r"""
def __lithox_make__():
    import base64, json, random
    b64encode, b64decode = base64.b64encode, base64.b64decode
    write, loads = json.dumps, json.loads
    text, integer, real, flag, octets = str, int, float, bool, bytes
    row, table, pair = list, dict, tuple
    kind, size, order, represent, infinity = type, len, sorted, repr, float("inf")
    WrongType, WrongValue, Failed = TypeError, ValueError, RuntimeError
    TooDeep, Undefined, numbered = RecursionError, NameError, enumerate

    def dumps(value):
        return write(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))

    def tag(value, path, depth):
        k = kind(value)
        if value is None or k is text or k is integer or k is flag:
            return value
        if k is real:
            if value != value or value == infinity or value == -infinity:
                raise WrongValue(f"{path}: floats are finite; found {value}")
            return value
        if k is octets:
            return {"\0b": b64encode(value).decode()}
        if depth > 64:
            raise WrongValue(f"{path}: values nest at most 64 levels deep")
        if k is row or k is pair:
            return [tag(item, f"{path}[{n}]", depth + 1) for n, item in numbered(value)]
        if k is not table:
            kinds = "None, bool, int, float, str, bytes, list and dict"
            raise WrongType(f"{path}: values are {kinds}; found {k.__name__}")
        tagged, is_odd = {}, False
        for key, item in value.items():
            if kind(key) is not text:
                raise WrongType(f"{path}: keys of a dict are text; found {represent(key)}")
            is_odd = is_odd or key[:1] == "\0"
            tagged[key] = tag(item, f"{path}[{represent(key)}]", depth + 1)
        return {"\0d": [[key, item] for key, item in tagged.items()]} if is_odd else tagged

    def untag(value):
        k = kind(value)
        if k is row:
            return [untag(item) for item in value]
        if k is not table:
            return value
        if "\0b" in value:
            return b64decode(value["\0b"])
        if "\0d" in value:
            return {key: untag(item) for key, item in value["\0d"]}
        return {key: untag(item) for key, item in value.items()}

    def encode(value, path):
        try:
            out = dumps(value)
            if loads(out) == value:
                return "j" + out
        except (WrongType, WrongValue, TooDeep):
            pass
        return "t" + dumps(tag(value, path, 1))

    def decode(coded):
        value = loads(coded[1:])
        return value if coded[0] == "j" else untag(value)

    def ask(name, args):
        return decode(__lithox__(name, encode(args, name)))

    def learn(me, state):
        known = {}
        for key, value in state.items():
            try:
                known[key] = "j" + dumps(value)
            except WrongType:
                known[key] = encode(value, key)
        return known

    def collect(me):
        state, known, found = me.state, me._known, {}
        if kind(state) is not table:
            raise WrongType(f"self.state is a dict; found {kind(state).__name__}")
        for key, value in state.items():
            if kind(key) is not text:
                raise WrongType(f"self.state: keys are text; found {represent(key)}")
            if value is None:
                continue
            old = known.get(key)
            if key not in known and not me._is_complete and key not in me._put:
                if ask("get", [key])[0] is not None:
                    raise Failed(
                        f"self.state[{represent(key)}] was not loaded, so setting it would "
                        "overwrite what nobody has looked at: name it under `preload`, or use "
                        "state_get or state_put"
                    )
            if old is not None:
                try:
                    if "j" + dumps(value) == old:
                        continue
                except (WrongType, WrongValue, TooDeep):
                    pass
            new = encode(value, f"self.state[{represent(key)}]")
            if new != old:
                found[key] = new
        for key, old in known.items():
            if old is not None and state.get(key) is None:
                found[key] = None
        return found

    def ask_merged(me, name, args):
        found = collect(me)
        got = ask(name, [*args, [[key, new] for key, new in found.items()]])
        me._known.update(found)
        return got

    def pages(me, name, args, after, limit):
        rows, more = [], True
        while more and (limit is None or size(rows) < limit):
            want = 256 if limit is None else limit - size(rows)
            page, more = ask_merged(me, name, [*args, after, want])
            rows += [pair(one) for one in page]
            if page:
                after = page[-1][0]
        return rows

    def timers_behind(after):
        found, more = [], True
        while more:
            page, more = ask("timers", [after])
            found += page
            more = more and size(page) > 0
            if more:
                after = page[-1]["id"]
        return found

    def read_whole(reader, wanted):
        pieces = []
        while True:
            where = [reader._key, reader.digest, reader._at, wanted]
            piece = ask("blob_read", where)[0]
            pieces.append(piece)
            reader._at += size(piece)
            wanted -= size(piece)
            if wanted <= 0 or not piece or reader._at >= reader.size:
                return piece if size(pieces) == 1 else b"".join(pieces)

    def local(me, after, limit, fits):
        found = [k for k, v in me.state.items() if v is not None and fits(k)]
        found = order(found, key=lambda k: k.encode())
        if after is not None:
            found = [k for k in found if k.encode() > after.encode()]
        return [(k, me.state[k]) for k in (found if limit is None else found[:limit])]

    def get(me, key):
        if key not in me.state and key not in me._known and not me._is_complete:
            value = ask("get", [key])[0]
            me._known[key] = None if value is None else encode(value, key)
            if value is not None:
                me.state[key] = value
        return me.state.get(key)

    def put(me, key, value):
        me.state[key] = value
        me._put[key] = True

    def delete(me, key):
        me.state.pop(key, None)
        if key not in me._known and not me._is_complete:
            me._known[key] = ""

    def reload(me):
        if me._is_complete:
            me.state.clear()
            me._known.clear()
            me.state.update({k: v for k, v in pages(me, "scan", [""], None, None)})
            me._known = learn(me, me.state)
            return
        keys = [key for key in me._known]
        me._known.clear()
        for key in keys:
            me.state.pop(key, None)
        for key in keys:
            get(me, key)

    def do_call(me, entity, handler, args):
        value, changed = ask_merged(me, "call", [entity, handler, row(args)])
        if changed:
            reload(me)
        return value

    def owe(me, name, work):
        me._owed.append(name)
        return settle(me, name, work)

    async def settle(me, name, work):
        me._owed.remove(name)
        return work()

    class Failure:
        def __init__(self, told):
            self.code, self.message, self.data = told["code"], told["message"], told["data"]

        def __repr__(self):
            return f"Failure(code={represent(self.code)}, message={represent(self.message)})"

    class Reader:
        def __init__(self, me, key, big):
            self._me, self._key, self._at = me, key, 0
            self.size, self.digest = big["size"], big["digest"]

        def read(self, size=65536):
            return owe(self._me, "reader.read", lambda: read_whole(self, size))

        def seek(self, offset):
            self._at = offset
            return offset

    class Writer:
        def __init__(self, me, key, token):
            self._me, self._key, self._token = me, key, token

        def write(self, data):
            args = [self._key, self._token, data]
            return owe(self._me, "writer.write", lambda: ask("blob_write", args))

        def close(self):
            return owe(self._me, "writer.close", self._close)

        def _close(self):
            digest = ask("blob_close", [self._key, self._token])[0]
            self._me.state.pop(self._key, None)
            self._me._known.pop(self._key, None)
            return digest

    def open_reader(me, key):
        big = ask_merged(me, "blob_open", [key])[0]
        return None if big is None else Reader(me, key, big)

    def do_schedule(me, options):
        return ask("schedule", [{k: v for k, v in options.items() if v is not None}])[0]

    class Self:
        def __init__(self, about):
            self.id, self.caller = about["id"], about["caller"]
            self.request_id, self.attempt = about["request_id"], about["attempt"]
            self._now, self._is_complete = about["now"], about["complete"]
            self._owed, self._tokens, self._known, self.state = [], 0, {}, {}
            self._put = {}

        def now(self):
            return self._now

        def log(self, level, message, fields=None):
            if level not in ("debug", "info", "warning", "error"):
                levels = "debug, info, warning, error"
                raise WrongValue(f"a log level is one of {levels}; found {represent(level)}")
            ask("log", [level, message, fields])

        def usage(self):
            return ask("usage", [])[0]

        def error(self, code, message="", data=None):
            ask("error", [code, message or code, data])
            return Failed(message or code)

        def error_of(self, error):
            return Failure(ask("error_of", [text(error)]))

        def state_get(self, key):
            return owe(self, "self.state_get", lambda: get(self, key))

        def state_put(self, key, value):
            return owe(self, "self.state_put", lambda: put(self, key, value))

        def state_delete(self, key):
            return owe(self, "self.state_delete", lambda: delete(self, key))

        def scan(self, prefix="", after=None, limit=None):
            if self._is_complete:
                fits = lambda k: k.startswith(prefix)
                return owe(self, "self.scan", lambda: local(self, after, limit, fits))
            return owe(self, "self.scan", lambda: pages(self, "scan", [prefix], after, limit))

        def range(self, first="", end=None, after=None, limit=None):
            if self._is_complete:
                low, high = first.encode(), None if end is None else end.encode()
                fits = lambda k: k.encode() >= low and (high is None or k.encode() < high)
                return owe(self, "self.range", lambda: local(self, after, limit, fits))
            ends = [first, end]
            return owe(self, "self.range", lambda: pages(self, "range", ends, after, limit))

        def call(self, entity, handler, *args):
            return owe(self, "self.call", lambda: do_call(self, entity, handler, args))

        def request(self, entity, handler, *args):
            args = [entity, handler, row(args)]
            return owe(self, "self.request", lambda: ask("request", args)[0])

        def send(self, entity, handler, *args):
            args = [entity, handler, row(args)]
            return owe(self, "self.send", lambda: ask("send", args)[0])

        def after(self, ms, handler, *args):
            options = {"after": ms, "handler": handler, "args": row(args)}
            return owe(self, "self.after", lambda: do_schedule(self, options))

        def at(self, ms, handler, *args):
            options = {"at": ms, "handler": handler, "args": row(args)}
            return owe(self, "self.at", lambda: do_schedule(self, options))

        def every(self, ms, handler, *args):
            options = {"every": ms, "handler": handler, "args": row(args)}
            return owe(self, "self.every", lambda: do_schedule(self, options))

        def cron(self, line, handler, *args):
            options = {"cron": line, "handler": handler, "args": row(args)}
            return owe(self, "self.cron", lambda: do_schedule(self, options))

        def schedule(self, **options):
            return owe(self, "self.schedule", lambda: do_schedule(self, options))

        def cancel(self, id):
            return owe(self, "self.cancel", lambda: ask("cancel", [id])[0])

        def timers(self, after=None):
            return owe(self, "self.timers", lambda: timers_behind(after))

        def reader(self, key):
            return owe(self, "self.reader", lambda: open_reader(self, key))

        def writer(self, key):
            self._tokens += 1
            return Writer(self, key, self._tokens)

    async def main(handler, about, args, state):
        about = decode(about)
        me = Self(about)
        random.seed(about["seed"])
        me.state = decode(state)
        me._known = learn(me, me.state)
        result = handler(me, *decode(args))
        if kind(result).__name__ == "coroutine":
            result = await result
        if me._owed:
            raise Failed(f"a call of self was not awaited: write `await {me._owed[0]}(...)`")
        rows = []
        for key, new in collect(me).items():
            rows.append("[" + dumps(key) + ("]" if new is None else f',"{new[0]}",{new[1:]}]'))
        told = encode(result, "the result")
        return f'["{told[0]}",{told[1:]},[{",".join(rows)}]]'

    def name_kind(get):
        try:
            return kind(get()).__name__
        except Undefined:
            return ""

    return main, name_kind


__lithox_main__, __lithox_kind__ = __lithox_make__()
"""
