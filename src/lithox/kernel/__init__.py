"""WHAT HAPPENS NEXT: process table, scheduling, limits, retry. Facts in, effects out; pure."""

from lithox.kernel.effects import Effect, Ended, NodeAnswered
from lithox.kernel.interactions import Counts, Interactions, NativeContext, WaitKind
from lithox.kernel.kernel import Kernel
from lithox.kernel.policy import DEFAULT_POLICY, Policy
from lithox.kernel.process import Lane, Mode, ProcessView, Slice, SliceEnd, Spawn
from lithox.kernel.retry import DEFAULT_RETRY, Retry, RetryPolicy, decide_retry, turn_order
from lithox.kernel.states import ProcessState

__all__ = [
    "DEFAULT_POLICY",
    "DEFAULT_RETRY",
    "Counts",
    "Effect",
    "Ended",
    "Interactions",
    "Kernel",
    "Lane",
    "Mode",
    "NativeContext",
    "NodeAnswered",
    "Policy",
    "ProcessState",
    "ProcessView",
    "Retry",
    "RetryPolicy",
    "Slice",
    "SliceEnd",
    "Spawn",
    "WaitKind",
    "decide_retry",
    "turn_order",
]
