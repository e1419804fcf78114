"""The handlers of README.md in Python. What a handler does is said there, once.

It runs in the worker's Python, whose limits (docs/limitations/python.md) show in its style.
"""

import datetime
import functools
import os
import random as randomness
import time

# Things that must not outlive a run; `bump` counts each up.
module_variable = 0
module_list = [0]


class Counter:
    count = 0


def make_closure():
    kept = 0

    def count_up():
        nonlocal kept
        kept += 1
        return kept

    return count_up


kept_by_closure = make_closure()


def count_calls(calls=[0]):
    calls[0] += 1
    return calls[0]


@functools.lru_cache
def cached(key):
    return [0]


# Values -----------------------------------------------------------------------------------------


def echo(self, value=None):
    return value


def pair(self, a, b):
    return [a, b]


def describe(self, value=None):
    if value is None:
        return "null"
    names = {"bool": "bool", "int": "int", "float": "float", "bytes": "bytes", "list": "list"}
    return {"str": "text", "dict": "map", **names}[type(value).__name__]


def make_cycle():
    cycle = []
    cycle.append(cycle)
    return cycle


def make(self, kind, key=None):
    makers = {
        "nan": lambda: float("nan"),
        "infinity": lambda: float("inf"),
        "minus_infinity": lambda: float("-inf"),
        "beyond_int": lambda: 2**64,
        "cycle": make_cycle,
        "function": lambda: echo,
        "number_key": lambda: {"a": 1, 1: 2},
    }
    if kind not in makers:
        return "cannot"
    value = makers[kind]()
    if key is None:
        return value
    self.state[key] = value


def empty(self, kind):
    return [] if kind == "list" else {}


def nest(self, depth):
    value = []
    for _ in [0] * (depth - 1):
        value = [value]
    return value


def text(self, length):
    return "x" * length


def _hidden(self):
    return 1


# Whose run it is --------------------------------------------------------------------------------


def who(self):
    return {
        "id": self.id,
        "caller": self.caller,
        "request_id": self.request_id,
        "attempt": self.attempt,
    }


def forge(self):
    for name in ["id", "caller", "request_id", "attempt"]:
        try:
            setattr(self, name, "forged")
        except Exception:
            pass
    return who(self)


def log(self, level, text, fields=None):
    self.log(level, text, fields)


def say(self, text):
    print(text)


def log_often(self, count, size):
    for _ in [0] * count:
        self.log("info", "x" * size)


def usage(self):
    return self.usage()


# State ------------------------------------------------------------------------------------------


async def increment(self, by=None):
    count = await self.state_get("count")
    count = (count or 0) + (1 if by is None else by)
    await self.state_put("count", count)
    return count


async def get(self, key):
    return await self.state_get(key)


async def has(self, key):
    return await self.state_get(key) is not None


def put(self, key, value=None):
    self.state[key] = value


async def delete(self, key):
    await self.state_delete(key)


def count_leaves(value):
    if type(value) is list:
        return sum([count_leaves(item) for item in value])
    if type(value) is dict:
        return sum([count_leaves(item) for item in value.values()])
    return 1


async def look(self, key):
    return count_leaves(await self.state_get(key))


def edit_value(value):
    value["inner"]["count"] += 1
    value["inner"]["list"].append("added")


async def edit(self, key):
    edit_value(await self.state_get(key))


async def unedit(self, key):
    value = await self.state_get(key)
    edit_value(value)
    value["inner"]["count"] -= 1
    value["inner"]["list"].pop()


async def detach(self, key):
    old = await self.state_get(key)
    self.state[key] = {"new": True}
    edit_value(old)


async def share(self, key, other):
    self.state[other] = await self.state_get(key)


async def keys(self):
    return [key for key, _ in await self.scan("")]


async def scan(self, prefix, after=None):
    return [[key, value] for key, value in await self.scan(prefix, after)]


async def range(self, first=None, end=None, after=None):
    rows = await self.range("" if first is None else first, end, after)
    return [[key, value] for key, value in rows]


async def scan_some(self, prefix, count):
    return [[key, value] for key, value in await self.scan(prefix, None, count)]


async def scan_own(self, prefix, added, removed):
    self.state[added] = True
    await self.state_delete(removed)
    return [key for key, _ in await self.scan(prefix)]


def fill(self, prefix, count, size):
    n = 0
    while n < count:
        n += 1
        self.state[f"{prefix}{n:05d}"] = "x" * size


# Others -----------------------------------------------------------------------------------------


async def call(self, entity, handler, args=None):
    return await self.call(entity, handler, *(args or []))


async def try_call(self, entity, handler, args=None):
    try:
        return {"value": await self.call(entity, handler, *(args or []))}
    except Exception as error:
        failure = self.error_of(error)
        return {"code": failure.code, "message": failure.message}


async def put_call(self, key, value, entity, handler, args=None):
    self.state[key] = value
    return await try_call(self, entity, handler, args)


async def call_fail(self, entity, handler, args=None):
    await self.call(entity, handler, *(args or []))
    raise self.error("after_call", "after the call")


async def request(self, entity, handler, args=None):
    return await self.request(entity, handler, *(args or []))


async def request_fail(self, entity, handler, args=None):
    await self.request(entity, handler, *(args or []))
    raise self.error("after_request", "after the request")


async def send(self, entity, handler, args=None):
    return await self.send(entity, handler, *(args or []))


async def send_fail(self, entity, handler, args=None):
    await self.send(entity, handler, *(args or []))
    raise self.error("after_send", "after sending")


async def after(self, ms, handler, args=None):
    return await self.after(ms, handler, *(args or []))


async def schedule(self, options):
    return await self.schedule(**options)


async def cancel(self, id):
    return await self.cancel(id)


async def timers(self, after=None):
    return await self.timers(after)


# Big values -------------------------------------------------------------------------------------


async def write_big(self, key, pieces, size):
    writer = self.writer(key)
    for _ in [0] * pieces:
        await writer.write(b"x" * size)
    return await writer.close()


async def leave_big(self, key):
    await self.writer(key).write(b"never closed")


async def read_big(self, key, size):
    reader = await self.reader(key)
    if reader is None:
        return None
    pieces = count = 0
    while piece := await reader.read(size):
        pieces += 1
        count += len(piece)
    return {"size": reader.size, "digest": reader.digest, "pieces": pieces, "bytes": count}


async def big_at(self, key, offset, size):
    reader = await self.reader(key)
    reader.seek(offset)
    return await reader.read(size)


# Errors -----------------------------------------------------------------------------------------


def fail_plainly(message):
    raise ValueError(message)  # RAISED HERE


def fail(self, message, code=None, data=None):
    if code is None:
        return fail_plainly(message)
    raise self.error(code, message, data)


def put_fail(self, key, value, message):
    self.state[key] = value
    self.state.pop("count", None)
    self.state["not " + key] = True
    raise ValueError(message)


def catch(self):
    try:
        return 1 // 0
    except ZeroDivisionError:
        return "caught"


# Limits -----------------------------------------------------------------------------------------


def loop(self):
    while True:
        pass


def loop_again():
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
        finally:
            while True:
                pass


def loop_caught(self):
    while True:
        try:
            loop_again()
        except BaseException:
            loop_again()
        finally:
            loop_again()


def loop_asking(self):
    while True:
        try:
            self.usage()
        except BaseException:
            pass


def down(n):
    return 1 + down(n + 1)


def recurse(self):
    return down(1)


def eat(self):
    kept = []
    while True:
        kept.append("x" * 100000 + str(len(kept)))


def eat_caught(self):
    kept = []
    while True:
        try:
            while True:
                kept.append("x" * 100000 + str(len(kept)))
        except BaseException:
            pass


def ask_often(self, count):
    answered = 0
    for _ in [0] * count:
        try:
            self.usage()
            answered += 1
        except Exception:
            pass
    return answered


def spin(self, count):
    t = i = 0
    while i < count:
        i += 1
        t = (t * 31 + i) % 1000003
    return t


# Determinism, authority, images -------------------------------------------------------------------


def random(self, count):
    return [randomness.randint(0, 1 << 40) for _ in [0] * count]


def now(self):
    return self.now()


def clocks(self):
    moments = [
        time.time(),
        time.time_ns() / 1e9,
        time.monotonic(),
        time.perf_counter(),
        datetime.datetime.now(datetime.timezone.utc).timestamp(),
        datetime.datetime.now().replace(tzinfo=datetime.timezone.utc).timestamp(),
    ]
    return [round(moment * 1000) for moment in moments]


def mixed(self, count):
    seen = []
    table = {}
    for n in [0] * count:
        table[f"key {randomness.random()}"] = n
    seen.append(",".join(table))
    seen.append(",".join([str(one) for one in {f"{n}" for n in table}]))
    seen.append(str(sorted([randomness.random() for _ in [0] * count], reverse=True)))
    seen.append(str(randomness.Random().random()) + str(hash("text")) + str(id(seen)))
    seen.append(f"{echo} {self.state} {hash(1.5)} {time.process_time()}")
    seen.append(f"{datetime.datetime.now()} {time.time()} {time.strftime('%c')}")
    randomness.seed()
    seen.append(str(randomness.random()))
    return seen


def bump(self):
    global module_variable
    module_variable += 1
    module_list[0] += 1
    Counter.count += 1
    kept = cached("a")
    kept[0] += 1
    return [
        module_variable,
        module_list[0],
        Counter.count,
        kept_by_closure(),
        count_calls(),
        kept[0],
    ]


def attempt(action):
    try:
        return f"reached: {action()}"
    except ImportError:
        return "absent"
    except NameError:
        return "absent"
    except Exception:
        return "refused"


def attempt_all(actions):
    found = [attempt(action) for action in actions]
    for one in found:
        if one.startswith("reached"):
            return one
    return "refused" if "refused" in found else "absent"


def reach(self):
    return {
        "files": attempt_all(
            [
                lambda: open("/etc/passwd").read(),
                lambda: exec("import os\nos.listdir('/')"),
                lambda: exec("import pathlib\npathlib.Path('/etc/passwd').read_text()"),
                lambda: exec("import pathlib\npathlib.Path('/tmp/x').write_text('x')"),
            ]
        ),
        "network": attempt_all(
            [lambda: exec("import socket"), lambda: exec("import urllib.request")]
        ),
        "environment": attempt_all([lambda: os.environ["PATH"], lambda: os.getenv("PATH")]),
        "process": attempt_all(
            [
                lambda: exec("import os\nos.system('true')"),
                lambda: exec("import os\nos.getpid()"),
                lambda: exec("import subprocess"),
                lambda: exec("import os\nos.uname()"),
            ]
        ),
        "clock": "virtual",
        "randomness": "virtual",
        "code": attempt_all([lambda: exec("import importlib"), lambda: exec("import ctypes")]),
        "host": attempt_all(
            [
                lambda: exec("__lithox__('get')"),
                lambda: self.__dict__["node"],
                lambda: exec("import sys\nsys._getframe(0)"),
            ]
        ),
    }
