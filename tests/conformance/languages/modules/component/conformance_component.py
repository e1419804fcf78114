"""The handlers of README.md in CPython. What a handler does is said there, once."""

import datetime
import functools
import gc
import os
import random
import socket
import subprocess
import sys
import time
import types

from lithox_handler import HandlerError, WitWorld, handler  # noqa: F401

KINDS = {type(None): "null", bool: "bool", int: "int", float: "float", str: "text"}
KINDS |= {bytes: "bytes", list: "list", dict: "map"}

# Things that must not outlive a run; `bump` counts each up.
module_variable = 0
kept_list = []


class Counted:
    count = 0


@functools.cache
def kept_cell():
    return [0]


def count_up():
    count = 0
    while True:
        count += 1
        yield count


counting = count_up()


# Values ------------------------------------------------------------------------------------


@handler
def echo(self, value):
    return value


@handler
def pair(self, a, b):
    return [a, b]


@handler
def describe(self, value):
    return KINDS[type(value)]


def make_cycle():
    found = []
    found.append(found)
    return found


MAKERS = {
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "minus_infinity": lambda: float("-inf"),
    "beyond_int": lambda: 1 << 70,
    "lone_surrogate": lambda: "a\ud800",
    "cycle": make_cycle,
    "function": lambda: make_cycle,
    "number_key": lambda: {"a": 1, 1: 2},
}


@handler
def make(self, kind, key):
    value = MAKERS[kind]()
    if key is None:
        return value
    self.state[key] = value


@handler
def empty(self, kind):
    return [] if kind == "list" else {}


@handler
def nest(self, depth):
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


@handler
def text(self, length):
    return "x" * length


@handler
def _hidden(self):
    return 1


# Whose run it is ---------------------------------------------------------------------------


@handler
def who(self):
    return {
        "id": self.id,
        "caller": self.caller,
        "request_id": self.request_id,
        "attempt": self.attempt,
    }


@handler
def forge(self):
    for name in ("id", "caller", "request_id", "attempt"):
        try:
            setattr(self, name, "forged")
        except AttributeError:
            pass
    return who(self)


@handler
def log(self, level, text, fields):
    self.log(level, text, fields)


@handler
def say(self, text):
    print(text)


@handler
def log_often(self, count, size):
    for _ in range(count):
        self.log("info", "x" * size)


@handler
def usage(self):
    return self.usage()


# State -------------------------------------------------------------------------------------


@handler
def increment(self, by):
    self.state["count"] = self.state.get("count", 0) + (1 if by is None else by)
    return self.state["count"]


@handler
def get(self, key):
    return self.state.get(key)


@handler
def has(self, key):
    return key in self.state


@handler
def put(self, key, value):
    self.state[key] = value


@handler
def delete(self, key):
    self.state.pop(key, None)


def count_leaves(value):
    if isinstance(value, list):
        return sum(map(count_leaves, value))
    if isinstance(value, dict):
        return sum(map(count_leaves, value.values()))
    return 1


@handler
def look(self, key):
    return count_leaves(self.state[key])


def change(value):
    value["inner"]["count"] += 1
    value["inner"]["list"].append("added")


@handler
def edit(self, key):
    change(self.state[key])


@handler
def unedit(self, key):
    inner = self.state[key]["inner"]
    change(self.state[key])
    inner["count"] -= 1
    inner["list"].pop()


@handler
def detach(self, key):
    old = self.state[key]
    self.state[key] = {"new": True}
    change(old)


@handler
def share(self, key, other):
    self.state[other] = self.state[key]


@handler
def keys(self):
    return list(self.state)


@handler
def scan(self, prefix, after):
    return list(self.scan(prefix or "", after))


@handler("range")
def range_rows(self, first, end, after):
    return list(self.range(first or "", end, after))


@handler
def scan_some(self, prefix, count):
    rows = []
    if count < 1:
        return rows
    for row in self.scan(prefix):
        rows.append(row)
        if len(rows) == count:
            break
    return rows


@handler
def scan_own(self, prefix, added, removed):
    self.state[added] = True
    self.state.pop(removed, None)
    return [key for key, _ in self.scan(prefix)]


@handler
def fill(self, prefix, count, size):
    for number in range(1, count + 1):
        self.state[f"{prefix}{number:05}"] = "x" * size


# Others ------------------------------------------------------------------------------------


@handler
def call(self, entity, handler, args):
    return self.call(entity, handler, *(args or ()))


@handler
def try_call(self, entity, handler, args):
    try:
        return {"value": self.call(entity, handler, *(args or ()))}
    except HandlerError as error:
        return {"code": error.code, "message": error.message}


@handler
def put_call(self, key, value, entity, handler, args):
    self.state[key] = value
    return try_call(self, entity, handler, args)


@handler
def call_fail(self, entity, handler, args):
    self.call(entity, handler, *(args or ()))
    raise HandlerError("after_call", "after the call")


@handler
def request(self, entity, handler, args):
    return self.request(entity, handler, *(args or ()))


@handler
def request_fail(self, entity, handler, args):
    self.request(entity, handler, *(args or ()))
    raise HandlerError("after_request", "after the request")


@handler
def send(self, entity, handler, args):
    return self.send(entity, handler, *(args or ()))


@handler
def send_fail(self, entity, handler, args):
    self.send(entity, handler, *(args or ()))
    raise HandlerError("after_send", "after sending")


@handler
def after(self, ms, handler, args):
    return self.after(ms, handler, *(args or ()))


@handler
def schedule(self, options):
    return self.schedule(**options)


@handler
def cancel(self, id):
    return self.cancel(id)


@handler
def timers(self, after=None):
    return self.timers(after)[0]


# Big values --------------------------------------------------------------------------------


@handler
def write_big(self, key, pieces, size):
    writer = self.writer(key)
    for _ in range(pieces):
        writer.write(b"x" * size)
    return writer.close()


@handler
def leave_big(self, key):
    self.writer(key).write(b"never closed")


@handler
def read_big(self, key, size):
    reader = self.reader(key)
    if reader is None:
        return None
    pieces = count = 0
    while piece := reader.read(size):
        pieces, count = pieces + 1, count + len(piece)
    return {"size": reader.size, "digest": reader.digest, "pieces": pieces, "bytes": count}


@handler
def big_at(self, key, offset, size):
    reader = self.reader(key)
    reader.seek(offset)
    return reader.read(size)


# Errors ------------------------------------------------------------------------------------


def raise_error(message):
    raise ValueError(message)  # RAISED HERE


@handler
def fail(self, message, code, data):
    if code is None:
        raise_error(message)
    raise HandlerError(code, message, data)


@handler
def put_fail(self, key, value, message):
    self.state[key] = value
    self.state.pop("count", None)
    self.state[f"not {key}"] = True
    raise ValueError(message)


@handler
def catch(self):
    try:
        return None + 1
    except TypeError:
        return "caught"


# Limits ------------------------------------------------------------------------------------


@handler
def loop(self):
    while True:
        pass


class Lingering:
    def __del__(self):
        while True:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return True


@handler
def loop_caught(self):
    while True:
        with Lingering():
            try:
                try:
                    while True:
                        pass
                finally:
                    while True:
                        pass
            except BaseException:
                continue


@handler
def loop_asking(self):
    while True:
        try:
            self.usage()
        except BaseException:
            continue


@handler
def recurse(self):
    def down(n):
        return 1 + down(n + 1)

    sys.setrecursionlimit(1 << 30)
    return down(1)


@handler
def eat(self):
    kept = []
    while True:
        kept.append(f"{len(kept)}" + "x" * 100_000)


@handler
def eat_caught(self):
    kept = []
    while True:
        try:
            while True:
                kept.append(f"{len(kept)}" + "x" * 100_000)
        except BaseException:
            continue


@handler
def ask_often(self, count):
    answered = 0
    for _ in range(count):
        try:
            self.usage()
            answered += 1
        except Exception:
            continue
    return answered


@handler
def spin(self, count):
    t = 0
    for i in range(1, count + 1):
        t = (t * 31 + i) % 1000003
    return t


# Determinism, authority, images ------------------------------------------------------------


@handler("random")
def random_numbers(self, count):
    system = random.SystemRandom()
    return [random.randrange(1 << 40) ^ system.randrange(1 << 40) for _ in range(count)]


@handler
def now(self):
    return self.now()


@handler
def clocks(self):
    return [
        time.time_ns() // 1_000_000,
        time.monotonic_ns() // 1_000_000,
        time.perf_counter_ns() // 1_000_000,
        int(datetime.datetime.now(datetime.UTC).timestamp() * 1000),
    ]


@handler
def mixed(self, count):
    seen = []
    table = {}
    for n in range(1, count + 1):
        table[f"key {n * 7919 % 10007}"] = random.random()
        table[n * 0.5] = n
        table[object()] = n
    seen += [f"{key}={value:.14g}" for key, value in table.items()]
    seen.append(",".join(map(str, {f"{n}" for n in range(count)})))
    seen.append(",".join(map(str, sorted(random.randrange(count) for _ in range(count)))))
    seen += [str(id(self)), repr(echo), os.urandom(8).hex(), str(hash("text"))]
    seen += [str(len(gc.get_objects())), f"{time.perf_counter():.9f}", time.ctime()]
    return seen


@handler
def bump(self):
    global module_variable
    module_variable += 1
    kept_list.append(1)
    Counted.count += 1
    kept_cell()[0] += 1
    sys.modules["json"].bump = getattr(sys.modules["json"], "bump", 0) + 1
    types.bump = getattr(types, "bump", 0) + 1
    bump.count = getattr(bump, "count", 0) + 1
    os.environ["BUMP"] = str(int(os.environ.get("BUMP", "0")) + 1)
    return [
        *(module_variable, len(kept_list), Counted.count, kept_cell()[0], next(counting)),
        *(sys.modules["json"].bump, types.bump, bump.count, int(os.environ["BUMP"])),
    ]


def attempt(*tries):
    for one in tries:
        try:
            got = one()
        except BaseException:
            continue
        if got:
            return f"reached: {got}"[:200]
    return "refused"


@handler
def reach(self):
    is_now = time.time_ns() // 1_000_000 == self.now()
    return {
        "files": attempt(
            lambda: open("/etc/passwd").read(),
            lambda: open("/tmp/none", "w").write("x"),
            lambda: os.listdir("/"),
        ),
        "network": attempt(
            lambda: socket.create_connection(("127.0.0.1", 80), 1),
            lambda: socket.getaddrinfo("localhost", 80),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", 0)),
        ),
        "environment": attempt(lambda: dict(os.environ), lambda: sys.argv[1:]),
        "process": attempt(lambda: subprocess.run(["true"]), lambda: os.system("true") == 0),
        "clock": "virtual" if is_now else f"reached: {time.time_ns()}",
        "randomness": "virtual",  # From the run's seed: the suite compares runs.
        "code": attempt(lambda: __import__("ctypes").CDLL(None)),
        "host": attempt(lambda: open("/proc/self/maps").read(), lambda: os.listdir("/proc")),
    }
