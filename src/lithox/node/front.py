"""One process of a server, seen as the whole: what a way in asks of a node goes where it belongs.

It stands before a `Node` and has the same methods. What concerns an entity of another process is
asked over its link; what a server has once is the lead's; the rest is the node's own. Calls need
nothing here: the dispatcher hands them over itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lithox.cluster.hearing import Respond
from lithox.cluster.peer import Peer
from lithox.cluster.sharing import LEAD, Sharing
from lithox.cluster.wire import (
    decode_told_answer,
    encode_told_answer,
    pack_caller,
    pack_request,
    unpack_caller,
    unpack_request,
)
from lithox.dispatch.job import OnAnswer
from lithox.errors import BadArguments, IdReused, LithoxError, NotFound, StoreUnavailable
from lithox.model.request import Answer, Caller, Request
from lithox.modules.bundle import Bundle
from lithox.node.code_sync import CHANGED, MODULE, TEMPLATES
from lithox.node.deploy import DeployReport

if TYPE_CHECKING:
    from lithox.node.node import Node

ACCEPT: Final = "accept"
OUTCOME: Final = "outcome"
DEPLOY_WAIT_S_MAX: Final = 30.0
"""How long a deploy waits for a process that is being started again, or takes the code over."""
RETRY_AFTER_MS: Final = 1_000
_log: Final = logging.getLogger("lithox.node")


class FrontNode:
    """A `Node` and its siblings as one; what is not here is the node's own. See `lithox.Node`."""

    def __init__(self, node: Node, sharing: Sharing) -> None:
        """Stands before `node`, which is open."""
        self._node = node
        self._sharing = sharing
        self._direct: list[str] = []
        self._node_entity = node.config.node_entity
        # What every request asks for is found without `__getattr__`.
        self.identify = node.identify
        self.deadline_in = node.deadline_in

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def questions(self) -> Mapping[str, Respond]:
        """Returns what siblings may ask of this process, by name."""
        sync = self._node.code_sync
        return {
            ACCEPT: self._tell_accept,
            OUTCOME: self._tell_outcome,
            TEMPLATES: sync.tell_templates,
            MODULE: sync.tell_module,
            CHANGED: self._tell_changed,
        }

    # -- requests ---------------------------------------------------------------------------

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        """Takes a request; see `Node.submit`. One of the node's own entity is the lead's."""
        sharing = self._sharing
        if request.entity != self._node_entity or sharing.is_lead:
            return self._node.submit(request)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def on_answer(answer: Answer) -> None:
            if not future.done():
                future.set_result(answer)

        sharing.peers[LEAD].send(request, on_answer)
        return future

    def submit_to(self, request: Request, on_answer: OnAnswer) -> None:
        """Takes a request like `submit`, without a future; see `Node.submit_to`."""
        sharing = self._sharing
        if request.entity != self._node_entity or sharing.is_lead:
            self._node.submit_to(request, on_answer)
        else:
            sharing.peers[LEAD].send(request, on_answer)

    async def accept(self, request: Request, *, callback: str | None = None) -> str:
        """Accepts a request where its entity lives; a group where its first one does."""
        place = request.calls[0].entity if request.calls else request.entity
        owner = self._sharing.peers.get(self._sharing.volume_of(place))
        if owner is None:
            return await self._node.accept(request, callback=callback)
        packed = pack_request(request, self._now_ns())
        return str(await owner.ask(ACCEPT, [packed, callback]))

    async def _tell_accept(self, payload: Any) -> str:
        packed, callback = payload
        request = unpack_request(packed, self._now_ns())
        return await self._node.accept(request, callback=callback)

    async def request_outcome(
        self,
        request_id: str,
        *,
        entity: str | None = None,
        wait_ms: int = 0,
        caller: Caller | None = None,
    ) -> Answer | None:
        """Returns what became of a request; see `Node.request_outcome`.

        With an entity its process is asked, for what was accepted there too. Without one every
        process is, since any may have accepted it: an id is its caller's own in one volume only.

        Raises:
            IdReused: requests of several volumes have this id, and no entity says which is meant.
            StoreUnavailable: a process that may know it could not be asked.
        """
        sharing = self._sharing
        if entity is not None:
            owner = sharing.peers.get(sharing.volume_of(entity))
            try:
                return await self._outcome_at(owner, request_id, entity, wait_ms, caller)
            except NotFound:
                return await self._outcome_at(owner, request_id, None, wait_ms, caller)
        owner, found = await self._find_outcome(request_id, caller)
        if found is not None or not wait_ms:
            return found
        return await self._outcome_at(owner, request_id, None, wait_ms, caller)

    async def _find_outcome(
        self, request_id: str, caller: Caller | None
    ) -> tuple[Peer | None, Answer | None]:
        """Returns who knows a request, None for this process, and what became of it so far."""
        places = (None, *self._sharing.peers.values())
        told = await asyncio.gather(
            *(self._outcome_at(peer, request_id, None, 0, caller) for peer in places),
            return_exceptions=True,
        )
        known: list[tuple[Peer | None, Answer | None]] = []
        missing: NotFound | None = None
        for peer, one in zip(places, told, strict=True):
            if isinstance(one, NotFound):
                missing = one
            elif isinstance(one, BaseException):
                # Whoever cannot be asked may know it, or another one of this id.
                raise one
            else:
                known.append((peer, one))
        if len(known) > 1:
            raise IdReused(
                f"requests of several volumes have the id {request_id!r}: name the entity of the "
                "one you mean"
            )
        if missing is not None and not known:
            raise missing
        return known[0]

    async def _outcome_at(
        self,
        peer: Peer | None,
        request_id: str,
        entity: str | None,
        wait_ms: int,
        caller: Caller | None,
    ) -> Answer | None:
        if peer is None:
            return await self._node.request_outcome(
                request_id, entity=entity, wait_ms=wait_ms, caller=caller
            )
        told = await peer.ask(
            OUTCOME, [request_id, entity, wait_ms, pack_caller(caller)], is_wait=wait_ms > 0
        )
        return None if told is None else decode_told_answer(told)

    async def _tell_outcome(self, payload: Any) -> bytes | None:
        request_id, entity, wait_ms, caller = payload
        answer = await self._node.request_outcome(
            request_id, entity=entity, wait_ms=wait_ms, caller=unpack_caller(caller)
        )
        return None if answer is None else encode_told_answer(answer)

    def _now_ns(self) -> int:
        return self._node.deadline_in(0)

    # -- code -------------------------------------------------------------------------------

    async def deploy(
        self, bundle: Bundle, caller: Caller | None = None, *, check: bool = False
    ) -> DeployReport:
        """Publishes a bundle in every process; waits until each serves it. At the lead only.

        Raises:
            StoreUnavailable: it is published, but a process has not taken it over yet; that one
                does before it serves again, or when the deploy is made again.
            LithoxError: see `Node.deploy`; nothing was published anywhere.
        """
        if not self._sharing.is_lead:
            raise BadArguments("the process that keeps the code takes deploys")
        report = await self._node.deploy(bundle, caller, check=check)
        if not check:
            peers = list(self._sharing.peers.values())
            failed = await asyncio.gather(*(self._tell_deploy(peer) for peer in peers))
            missing = [str(peer.volume) for peer, error in zip(peers, failed, strict=True) if error]
            if missing:
                raise StoreUnavailable(
                    f"published, but the processes of volumes {', '.join(missing)} have not taken "
                    "it over yet: deploy again, which changes nothing where it is there",
                    retry_after_ms=RETRY_AFTER_MS,
                )
        return report

    async def _tell_deploy(self, peer: Peer) -> Exception | None:
        """Has a sibling take the code over; returns why it has not."""
        try:
            async with asyncio.timeout(DEPLOY_WAIT_S_MAX):
                await peer.wait_up()
                await peer.ask(CHANGED)
        except (LithoxError, TimeoutError) as error:
            _log.warning("process %d has not taken over the code: %s", peer.volume, error)
            return error
        return None

    def tell_code(self, volume: int) -> asyncio.Task[Any] | None:
        """Has a sibling that has just been connected to look whether its code is the lead's."""
        if not self._sharing.is_lead:
            return None
        return asyncio.get_running_loop().create_task(
            self._tell_deploy(self._sharing.peers[volume])
        )

    async def _tell_changed(self, _payload: Any) -> bool:
        if self._sharing.is_lead:
            return False
        return await self._node.code_sync.pull(self._sharing.peers[LEAD].ask)

    # -- the node itself --------------------------------------------------------------------

    def set_direct(self, addresses: list[str]) -> None:
        """Notes where each process listens by itself, to be told to clients; [] for nowhere."""
        self._direct = addresses

    def info(self) -> dict[str, Any]:
        """Returns what this node is, and of which server it is a part."""
        placement = self._sharing.placement
        shared = {
            "process": self._sharing.volume,
            "volumes": placement.volumes,
            "spread": list(placement.spread),
            "direct": self._direct,
        }
        return {**self._node.info(), "server": shared}

    def is_ready(self) -> bool:
        """Returns whether requests for every volume are taken."""
        return self._node.is_ready() and all(peer.is_up for peer in self._sharing.peers.values())
