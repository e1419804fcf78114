"""Shipped helpers: time that moves by hand, guests without WebAssembly, whole runs from a seed."""

from lithox.testing.clock import FakeClock
from lithox.testing.script import Refused, ScriptError
from lithox.testing.scripted import ScriptedEngine
from lithox.testing.simulator import SimulationFailed, SimulationReport, Simulator

__all__ = [
    "FakeClock",
    "Refused",
    "ScriptError",
    "ScriptedEngine",
    "SimulationFailed",
    "SimulationReport",
    "Simulator",
]
