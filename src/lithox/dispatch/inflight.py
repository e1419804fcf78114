"""Requests with an id: repeated ones get the recorded answer, simultaneous ones wait.

Invariants: of all requests with one (caller, entity, id) at most one runs at a time; only success
is recorded, so when the running one fails the next waiter runs; the same id with other content is
refused whatever the state of the first.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from lithox.dispatch.job import Job
from lithox.errors import IdReused, Overloaded
from lithox.model.request import Answer

WAITERS_MAX: Final = 1_000
"""Requests, and lookups besides, that may wait for one id."""
OnEnd = Callable[[Answer], None]
"""Told what a request came to that one has only looked up."""
Key = tuple[str, str, str]
"""(identity, entity or other place of the record, request id)."""


def digest_of_asked(handler: str, args: bytes) -> bytes:
    """Returns what tells two requests with one id apart: SHA-256 of handler and arguments."""
    return hashlib.sha256(handler.encode() + b"\0" + args).digest()


def digest_of_job(job: Job) -> bytes:
    """Returns the digest of what a job asks for.

    Where its answer is not recorded under the entity it asks, that belongs to what was asked.
    """
    request = job.request
    if request.calls or job.place == request.entity:
        return digest_of_asked(request.handler, job.args)
    return digest_of_asked(f"{request.entity}:{request.handler}", job.args)


def key_of(job: Job) -> Key:
    """Returns the job's place; it must have a request id."""
    request = job.request
    assert request.request_id is not None
    return (request.caller.identity, job.place, request.request_id)


@dataclass(slots=True)
class _Running:
    asked_digest: bytes
    waiters: deque[Job] = field(default_factory=deque[Job])
    watchers: dict[object, OnEnd] = field(default_factory=dict[object, OnEnd])


class InFlight:
    """The ids that are being worked on."""

    def __init__(self) -> None:
        self._running: dict[Key, _Running] = {}
        self._count_by_account: dict[str, int] = {}

    def count(self, account: str) -> int:
        """Returns how many ids of `account` are being worked on."""
        return self._count_by_account.get(account, 0)

    def _add(self, account: str, change: int) -> None:
        count = self._count_by_account.get(account, 0) + change
        if count:
            self._count_by_account[account] = count
        else:
            self._count_by_account.pop(account, None)

    def forget(self, job: Job) -> None:
        """Takes a waiter out of the queue it waits in."""
        running = self._running.get(key_of(job))
        if running is not None and job in running.waiters:
            running.waiters.remove(job)

    def enter(self, job: Job) -> bool:
        """Returns True when `job` may run; False when it has been made to wait for the first.

        Raises:
            IdReused: the id is in use for another handler or other arguments.
            Overloaded: too many wait for it already.
        """
        key = key_of(job)
        running = self._running.get(key)
        if running is None:
            self._running[key] = _Running(job.asked_digest)
            self._add(job.account, 1)
            return True
        if running.asked_digest != job.asked_digest:
            raise id_reused(job)
        if len(running.waiters) >= WAITERS_MAX:
            raise Overloaded("too many requests wait for this request id", retry_after_ms=100)
        running.waiters.append(job)
        return False

    def is_running(self, key: Key) -> bool:
        """Returns whether the id is being worked on."""
        return key in self._running

    def digest_of(self, key: Key) -> bytes | None:
        """Returns what is asked under an id that is being worked on, or None."""
        running = self._running.get(key)
        return None if running is None else running.asked_digest

    def watch(self, key: Key, on_end: OnEnd) -> Callable[[], object]:
        """Has `on_end` told what the running request of `key` comes to; returns how to stop.

        Raises:
            Overloaded: too many wait for it already.
        """
        running = self._running[key]
        if len(running.watchers) >= WAITERS_MAX:
            raise Overloaded("too many lookups wait for this request id", retry_after_ms=100)
        watchers, token = running.watchers, object()
        watchers[token] = on_end
        return partial(watchers.pop, token, None)

    def leave(self, job: Job, *, is_success: bool) -> tuple[list[Job], Job | None, list[OnEnd]]:
        """Ends the running request of the id.

        Returns:
            (jobs that get the recorded answer, the job that runs next, lookups that are told the
            end). The waiters all get the answer of a success; after a failure the first of them
            runs, and lookups wait for that one.
        """
        key = key_of(job)
        running = self._running.pop(key, None)
        if running is None:
            return [], None, []
        if is_success or not running.waiters:
            self._add(job.account, -1)
            return list(running.waiters), None, list(running.watchers.values())
        following = running.waiters.popleft()
        self._running[key] = _Running(following.asked_digest, running.waiters, running.watchers)
        return [], following, []


def id_reused(job: Job) -> IdReused:
    """Returns the refusal of an id that was used for something else."""
    return IdReused(
        f"request id {job.request.request_id!r} was used for another handler or other arguments; "
        "take a new id for a new request"
    )
