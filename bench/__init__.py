"""Benchmarks: `python -m bench.NAME`; all of them through `make bench` (docs/benchmarks.md)."""
