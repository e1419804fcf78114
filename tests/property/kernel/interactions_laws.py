"""The laws of interactions, as invariants that a machine checks after every step."""

from __future__ import annotations

from hypothesis.stateful import RuleBasedStateMachine, invariant

from lithox.kernel import Ended, Kernel, NodeAnswered, ProcessState
from lithox.kernel.calls import CallPhase
from lithox.kernel.events import ExitEvent
from lithox.kernel.interactions import Interactions
from lithox.model.ids import AccountName, Pid
from tests.property.kernel.interactions_model import Model
from tests.property.kernel.interactions_records import Num


class LawfulMachine(RuleBasedStateMachine):
    """A kernel and its model, compared; machines that do things derive from it."""

    kernel: Kernel
    it: Interactions
    model: Model

    def settle(self) -> None:
        """Does what the driver does with effects: exits are told to parents, in order."""
        wanted = self.model.node_answers
        self.model.node_answers = []
        effects = self.kernel.take_effects()
        assert [tuple(e) for e in effects if isinstance(e, NodeAnswered)] == wanted
        told = [e.pid for e in effects if isinstance(e, Ended)]
        gone, self.model.gone = self.model.gone, []
        own = [pid for pid, _ in gone if pid not in told]
        assert len(own) <= 1, "only one process ends by its own slice at a time"
        assert [pid for pid, _ in gone if pid not in own] == told
        for pid, parent_pid in gone:
            event = ExitEvent(pid, 1, "x", "m" * 40, b"\x91" + b"v" * 300)
            assert self.it.post_exit(parent_pid, *event) == self.model.post_exit(parent_pid, event)

    # Laws.

    @invariant()
    def effects_are_the_models(self) -> None:
        if hasattr(self, "model"):
            self.settle()

    @invariant()
    def counts_and_states_are_the_models(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        assert sorted(self.it._table) == sorted(model.procs)
        for proc in model.procs.values():
            counts = self.it.counts(proc.pid)
            assert counts == (
                len(proc.numbers),
                len(proc.mailbox),
                model.mailbox_bytes(proc),
                len(model.calls_in(proc)),
                model.calls_out(proc),
                sum(len(ctx.names) for ctx in model.ctxs if ctx.owner is proc),
                len(proc.ears),
            )
            shares = self.it._table[proc.pid].call_shares
            accounts = {deed.account for deed in model.calls_in(proc)} - {"", proc.account}
            assert {name: (share.calls, share.queued_bytes) for name, share in shares.items()} == {
                AccountName(account): model.share(proc, account) for account in accounts
            }
            view = self.kernel.find(Pid(proc.pid))
            assert view is not None
            states = {"waiting": ProcessState.WAITING, "zombie": ProcessState.ZOMBIE}
            assert view.state is states.get(proc.where, ProcessState.RUNNING)
        for account in {proc.account for proc in model.procs.values()}:
            use = self.it._accounts[AccountName(account)]
            assert use.mailbox_bytes == model.account_bytes(account)
            assert use.contexts == model.account_contexts(account)

    @invariant()
    def no_bound_is_exceeded(self) -> None:
        if not hasattr(self, "model"):
            return
        policy = self.model.policy
        for party in self.it._table.values():
            assert 0 <= party.mailbox_bytes <= policy.mailbox_bytes_max
            assert 0 <= party.account.mailbox_bytes <= policy.mailbox_bytes_per_account_max
            assert len(party.holdings) <= policy.contexts_max
            assert party.account.contexts <= policy.contexts_per_account_max
            assert len(party.calls_in) <= policy.calls_in_max
            for share in party.call_shares.values():
                assert share.calls <= policy.calls_in_per_account_max
                assert share.queued_bytes <= policy.mailbox_bytes_max // 2
            assert len(party.calls_out) <= policy.calls_out_max
            assert party.bindings <= policy.bindings_max
            assert party.listens <= policy.listens_max

    @invariant()
    def numbers_lead_where_the_model_says(self) -> None:
        """Conservation: each number leads to exactly one living context, or says so."""
        if not hasattr(self, "model"):
            return
        for proc in self.model.procs.values():
            for num in proc.numbers.values():
                holding = self.it._table[proc.pid].holdings[num.number]
                assert holding.is_dead() == (num.phase.name == "DEAD")
                owner = holding.context.owner
                if num.phase.name == "OPEN":
                    wanted = None if num.ctx.owner is None else num.ctx.owner.pid
                    assert (None if owner is None else owner.pid) == wanted

    @invariant()
    def opens_less_closes_are_what_others_hold(self) -> None:
        if not hasattr(self, "model"):
            return
        for ctx in self.model.ctxs:
            if ctx.owner is not None:
                held: list[Num] = self.model.open_numbers(ctx)
                assert ctx.given_by_owner + ctx.opens - ctx.closes - ctx.taken_back == len(held)

    @invariant()
    def each_call_has_at_most_one_answer(self) -> None:
        if not hasattr(self, "model"):
            return
        for deed in self.model.deeds:
            is_over = deed.phase is CallPhase.OVER
            has_lost_caller = deed.caller is None and deed.caller_pid and deed.owner is None
            assert deed.answers == (is_over and not has_lost_caller)
