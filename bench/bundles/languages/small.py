# ruff: noqa: ANN001, ANN201, ARG001 - a handler has the types its worker checks
"""What bench/languages.py measures, in Python."""


def echo(self, value):
    return value


def increment(self, by):
    self.state["count"] = self.state.get("count", 0) + by
    return self.state["count"]


def ask(self, count):
    for _ in range(count):
        self.usage()


def spin(self, count):
    t = 0
    for i in range(1, count + 1):
        t = (t * 31 + i) % 1000003
    return t


def loop(self):
    while True:
        pass
