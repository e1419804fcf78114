"""Installs the real servers and tools that some tests drive, when this user may.

As root with apt-get it installs what is missing; else it says what is missing, and the tests that
need it skip visibly (with CI set they fail instead).
"""

from __future__ import annotations

import os
import shutil
import sys

from console import StepFailedError, run_step
from places import LOGS, ROOT

PACKAGES: dict[str, str] = {
    "curl": "curl",
    "pg_ctlcluster": "postgresql",
    "redis-benchmark": "redis-tools",
    "redis-cli": "redis-tools",
}
"""Command a test looks for -> Debian package that brings it."""

BENCH_PACKAGES: dict[str, str] = {"wrk": "wrk", "valgrind": "valgrind"}
"""The same for `make bench` and `make bench-compare`."""


def missing_packages(wanted: dict[str, str]) -> list[str]:
    """Returns the packages of commands that are not on the PATH, sorted."""
    return sorted({package for command, package in wanted.items() if not shutil.which(command)})


def install(packages: list[str]) -> bool:
    """Returns whether `packages` are installed now; prints why when they are not."""
    if not packages:
        return True
    names = " ".join(packages)
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"  not installed here: {names} (apt-get install {names}); its tests will skip")
        return False
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    try:
        run_step(
            "reading the package lists",
            ["apt-get", "update", "-q"],
            log=LOGS / "apt-update.log",
            folder=ROOT,
        )
        run_step(
            f"installing {names}",
            [*environment, "apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
            log=LOGS / "apt-install.log",
            folder=ROOT,
        )
    except StepFailedError:
        print(f"  could not install {names}; its tests will skip")
        return False
    return True


def main(arguments: list[str]) -> int:
    """Installs what tests need, or with `bench` what benchmarks need; never fails the target."""
    wanted = BENCH_PACKAGES if arguments == ["bench"] else PACKAGES
    try:
        install(missing_packages(wanted))
    except OSError as error:
        print(f"  system packages: {error}; some tests will skip")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
