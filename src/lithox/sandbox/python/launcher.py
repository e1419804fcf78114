"""How does a worker begin so that it cannot outlive the node, nor take what is the node's?

Run as a script of its own, never imported by the node: it binds its life to the node's, bounds
itself, and becomes the worker. `python -I -S launcher.py BINARY NODE_PID`. What it sets holds for
the worker, which has no way to lift it: PR_SET_PDEATHSIG survives execve, and limits only sink.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
"""Source: linux/prctl.h."""
OOM_SCORE = "1000"
"""When the machine runs out of memory, a worker goes before anything else."""
FILES_MAX = 64


def main() -> None:
    """Becomes the worker; ends with status 70 where that cannot be made safe."""
    binary, node_pid = sys.argv[1], int(sys.argv[2])
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) or os.getppid() != node_pid:
        sys.exit(70)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(OOM_SCORE)
    except OSError:
        pass
    os.chdir("/")
    os.execve(binary, [binary, "subprocess"], {})  # noqa: S606 - nothing of it is a shell's


if __name__ == "__main__":
    main()
