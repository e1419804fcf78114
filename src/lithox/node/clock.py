"""The only place that reads a real clock."""

from __future__ import annotations

import time


class RealClock:
    """The clocks of this machine. All in integer nanoseconds; none blocks."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    """Never runs backwards; deadlines and wall limits are in it."""
    wall_ns = staticmethod(time.time_ns)
    """Since 1970, UTC; what handlers see and records keep."""
    thread_cpu_ns = staticmethod(time.thread_time_ns)
    """Processor time of the calling thread; what slices are charged by."""
