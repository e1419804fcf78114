"""The only door to the project's tools: `python3 tools/task.py TARGET`, as the Makefile calls it.

This file must be understood by every Python 3 there is, so that an old one can say what is
missing or hand over to a newer one; everything newer stands in the modules beside it.
"""

import os
import subprocess
import sys

PYTHON_OLDEST = (3, 11)
PYTHON_NEWEST = (3, 13)


def find_python():
    """Returns the path of a Python that can run lithox, or None."""
    if PYTHON_OLDEST <= sys.version_info[:2] <= PYTHON_NEWEST:
        return sys.executable
    for minor in range(PYTHON_NEWEST[1], PYTHON_OLDEST[1] - 1, -1):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            path = os.path.join(folder, "python3.%d" % minor)
            if os.path.exists(path) and is_version(path, minor):
                return path
    return None


def is_version(path, minor):
    """Returns whether `path` really is Python 3.`minor`; a shim may only say that it is not."""
    asked = [path, "-c", "import sys; print(sys.version_info[1])"]
    try:
        said = subprocess.check_output(asked, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return False
    return said.strip() == str(minor).encode()


def main():
    python = find_python()
    if python is None:
        sys.exit(
            "lithox needs Python %d.%d to %d.%d; found only %s at %s.\n"
            "Install one of them, or name it: make PYTHON=/path/to/python3.12"
            % (PYTHON_OLDEST + PYTHON_NEWEST + (sys.version.split()[0], sys.executable))
        )
    if python != sys.executable:
        sys.stdout.flush()
        os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])
    import targets

    sys.exit(targets.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
