"""The part of `lithox.Node` about requests: calls, groups, accepted ones, what became of an id."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from lithox.dispatch.accepted_records import ASYNC_PLACE
from lithox.dispatch.dispatcher import Dispatcher
from lithox.dispatch.job import ATOMIC_PLACE, Clock, OnAnswer
from lithox.errors import BadArguments, NotFound, NotPermitted
from lithox.model.ids import (
    EntityPath,
    HandlerName,
    RequestId,
    check_entity_path,
    check_handler_name,
    check_request_id,
)
from lithox.model.limits import Limits
from lithox.model.request import Answer, Call, Caller, Request
from lithox.node.request_checks import (
    CallSpec,
    check_caller,
    check_limits,
    read_calls,
    read_optional_text,
    read_text,
)
from lithox.node.request_side import RequestSide
from lithox.node.seeds import SeedSource
from lithox.security.identities import LOCAL_OPERATOR

WAIT_MS_MAX: Final = 30_000
PAGE_LIMIT_MAX: Final = 1_000
ATOMIC_HANDLER: Final = HandlerName("atomic")


class RequestMethods:
    """Methods of a node that is open."""

    dispatcher: Dispatcher
    request_side: RequestSide
    _clock: Clock
    _loop: asyncio.AbstractEventLoop
    _waiting: set[asyncio.Future[Answer]]

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        """Takes a request; the future's answer holds the error, if any. Never raises, never waits.

        Cancelling the future does not end the run.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        waiting = self._waiting
        waiting.add(future)

        def on_answer(answer: Answer) -> None:
            waiting.discard(future)
            if not future.done():
                future.set_result(answer)

        self.dispatcher.submit(request, on_answer)
        return future

    def submit_to(self, request: Request, on_answer: OnAnswer) -> None:
        """Takes a request like `submit`, without a future: for those who ask often.

        Args:
            on_answer: called once, on the node's thread, perhaps before this returns; must not
                raise. Not called for a run that is broken off because the node closes.
        """
        self.dispatcher.submit(request, on_answer)

    async def call(  # noqa: PLR0913 - the public call, all but three by keyword
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        caller: Caller | None = None,
    ) -> Any:
        """Runs `handler` of `entity` and returns its value, once it is durable.

        Args:
            args: plain data: None, bool, int, float, str, bytes, list, dict with text keys.
            request_id: makes the request idempotent for 24 hours.
            limits: lowers what the run may use.
            deadline_ms: milliseconds from now after which the run is ended.
            caller: who asks; the operator if None.

        Raises:
            LithoxError: by its code; nothing of the run remains.
        """
        if type(entity) is not str or type(handler) is not str:
            entity, handler = read_text(entity, "an entity"), read_text(handler, "a handler")
        if request_id is not None and type(request_id) is not str:
            request_id = read_text(request_id, "a request id")
        if limits is not None:
            check_limits(limits)
        if caller is not None:
            check_caller(caller)
        request = Request(
            entity=check_entity_path(entity),
            handler=check_handler_name(handler),
            args=list(args),
            caller=caller or LOCAL_OPERATOR,
            limits=limits,
            request_id=None if request_id is None else check_request_id(request_id),
            deadline_ns=self._deadline(deadline_ms),
        )
        answer = await self.submit(request)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def deadline_in(self, duration_ms: int) -> int:
        """Returns the absolute deadline, for `Request.deadline_ns`, that many milliseconds away."""
        return self._clock.monotonic_ns() + duration_ms * 1_000_000

    # -- groups -----------------------------------------------------------------------------

    async def atomic(
        self,
        calls: Iterable[CallSpec],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        caller: Caller | None = None,
    ) -> list[Any]:
        """Runs calls one after another in one transaction; returns their values in order.

        All of them commit together or none does; each sees what those before it wrote.

        Args:
            calls: (entity, handler, *arguments) each, at most 100.
            request_id: makes the group idempotent, as a whole.
            limits: lowers what each call may use.
            deadline_ms: milliseconds from now after which the group is ended.
            caller: who asks; the operator if None.

        Raises:
            LithoxError: with the number of the call it is about in its field `call`; nothing of
                any call remains.
        """
        request = self.make_group(
            read_calls(calls),
            request_id=request_id,
            limits=limits,
            deadline_ms=deadline_ms,
            caller=caller,
        )
        answer = await self.submit(request)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def make_group(
        self,
        calls: tuple[Call, ...],
        *,
        request_id: str | None,
        limits: Limits | None,
        deadline_ms: int | None,
        caller: Caller | None,
    ) -> Request:
        """Returns a group of calls as a request."""
        if not calls:
            raise BadArguments("a group has at least one call")
        request_id = read_optional_text(request_id, "a request id")
        if limits is not None:
            check_limits(limits)
        if caller is not None:
            check_caller(caller)
        return Request(
            entity=EntityPath(ATOMIC_PLACE),
            handler=ATOMIC_HANDLER,
            args=[],
            calls=calls,
            caller=caller or LOCAL_OPERATOR,
            limits=limits,
            request_id=None if request_id is None else check_request_id(request_id),
            deadline_ns=self._deadline(deadline_ms),
        )

    def _deadline(self, deadline_ms: int | None) -> int | None:
        if deadline_ms is None:
            return None
        if type(deadline_ms) is not int:
            raise BadArguments(f"deadline_ms is a whole number or None; found {deadline_ms!r:.80}")
        return self._clock.monotonic_ns() + deadline_ms * 1_000_000

    # -- answered later ---------------------------------------------------------------------

    async def call_async(  # noqa: PLR0913 - the public call, all but three by keyword
        self,
        entity: str,
        handler: str,
        *args: Any,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        callback: str | None = None,
        caller: Caller | None = None,
    ) -> str:
        """Accepts a call to be run later; returns its request id once that is durable.

        From then on it runs until it has a definite outcome, whatever becomes of this process;
        `request_outcome` tells it.

        Args:
            request_id: the same id is accepted again and runs once; made if None.
            deadline_ms: milliseconds from now after which it must not run any more.
            callback: URL the outcome is sent to besides; its origin must be allowed.

        Raises:
            LithoxError: it is refused, as a call would be.
        """
        request_id = read_optional_text(request_id, "a request id")
        if limits is not None:
            check_limits(limits)
        if caller is not None:
            check_caller(caller)
        request = Request(
            entity=check_entity_path(read_text(entity, "an entity")),
            handler=check_handler_name(read_text(handler, "a handler")),
            args=list(args),
            caller=caller or LOCAL_OPERATOR,
            limits=limits,
            request_id=None if request_id is None else check_request_id(request_id),
            deadline_ns=self._deadline(deadline_ms),
        )
        return await self.accept(request, callback=callback)

    async def atomic_async(  # noqa: PLR0913 - the public call, all but one by keyword
        self,
        calls: Iterable[CallSpec],
        *,
        request_id: str | None = None,
        limits: Limits | None = None,
        deadline_ms: int | None = None,
        callback: str | None = None,
        caller: Caller | None = None,
    ) -> str:
        """Accepts a group of calls to be run later; see `atomic` and `call_async`."""
        request = self.make_group(
            read_calls(calls),
            request_id=request_id,
            limits=limits,
            deadline_ms=deadline_ms,
            caller=caller,
        )
        return await self.accept(request, callback=callback)

    async def accept(self, request: Request, *, callback: str | None = None) -> str:
        """Accepts a request; returns its id once that is durable. See `call_async`."""
        callback = read_optional_text(callback, "a call-back's URL")
        if callback is not None:
            self.request_side.callbacks.check(callback, request.caller.account)
        if request.request_id is None:
            seeds = SeedSource()
            request.request_id = RequestId(f"a.{seeds():016x}{seeds():016x}")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def on_accepted(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self.dispatcher.accepted.accept(request, on_accepted, callback=callback)
        await done
        return request.request_id

    # -- looking ----------------------------------------------------------------------------

    async def request_outcome(
        self,
        request_id: str,
        *,
        entity: str | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> Answer | None:
        """Returns what one's own request with an id came to, or None while it runs.

        Args:
            entity: whose handler was asked; not needed for accepted requests and groups.
            wait_ms: how long to wait for the end of one that runs, at most half a minute.

        Raises:
            NotFound: nothing runs or is kept under this id. A request that failed while its
                caller waited is not kept; the id may run again.
            NotPermitted: the caller may not call the entity (any more).
        """
        caller = caller or LOCAL_OPERATOR
        check_caller(caller)
        request_id = check_request_id(read_text(request_id, "a request id"))
        identity = caller.identity
        results, accepted = self.dispatcher.results, self.dispatcher.accepted
        if entity is None:
            place = results.find_place(identity, request_id)
        else:
            place = check_entity_path(read_text(entity, "an entity"))
            self.dispatcher.check_call(caller, place)
        ended: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def on_end(answer: Answer) -> None:
            if not ended.done():
                ended.set_result(answer)

        if accepted.is_pending(identity, request_id) and place == ASYNC_PLACE:
            cancel = accepted.watch(identity, request_id, on_end)
        elif place is not None and results.is_running(identity, place, request_id):
            cancel = results.watch(identity, place, request_id, on_end)
        else:
            return self._recorded(identity, place, request_id)
        try:
            if wait_ms > 0:
                with suppress(TimeoutError):
                    return await asyncio.wait_for(ended, min(wait_ms, WAIT_MS_MAX) / 1000)
        finally:
            cancel()
        return None

    def _recorded(self, identity: str, place: str | None, request_id: str) -> Answer | None:
        """Returns a kept outcome; None for one that another node works on; raises NotFound."""
        results = self.dispatcher.results
        if place == ASYNC_PLACE:
            found = results.find_accepted(identity, request_id)
            if found is not None or results.is_accepted(identity, request_id):
                return found
        elif place is not None:
            found = results.find(identity, place, request_id)
            if found is not None:
                return found
        raise NotFound(
            f"nothing runs or is kept under request id {request_id!r}; name the entity if it was "
            "a call that was waited for"
        )

    # -- call-backs -------------------------------------------------------------------------

    def callbacks_dead(
        self, *, after: str = "", limit: int = 100, caller: Caller | None = None
    ) -> dict[str, Any]:
        """Returns {"callbacks": dead ones in order of identity and id, "more"}; for operators."""
        self._check_admin(caller, "callbacks_dead")
        limit = min(max(limit, 1), PAGE_LIMIT_MAX)
        found, more = self.request_side.callbacks.list_dead(after, limit)
        return {"callbacks": found, "more": more}

    async def callback_retry(
        self, identity: str, request_id: str, *, caller: Caller | None = None
    ) -> None:
        """Sends a dead call-back again; waits until that is durable. Raises NotFound."""
        act = f"callback_retry:{identity}/{request_id}"
        who = self._check_admin(caller, act)
        await self.request_side.callbacks.retry(identity, request_id)
        self.dispatcher.record_act(identity=who.identity, act=act, entity="", outcome="ok")

    async def callback_purge(
        self, identity: str, request_id: str, *, caller: Caller | None = None
    ) -> None:
        """Forgets a dead call-back; waits until that is durable. Raises NotFound."""
        act = f"callback_purge:{identity}/{request_id}"
        who = self._check_admin(caller, act)
        await self.request_side.callbacks.purge(identity, request_id)
        self.dispatcher.record_act(identity=who.identity, act=act, entity="", outcome="ok")

    def _check_admin(self, caller: Caller | None, act: str) -> Caller:
        caller = caller or LOCAL_OPERATOR
        if not caller.is_admin:
            error = NotPermitted(f"{caller.identity} may not do this: it takes an administrator")
            self.dispatcher.record_act(
                identity=caller.identity, act=act, entity="", outcome=error.code, detail=str(error)
            )
            raise error
        return caller
