"""Releases of a package: which versions there are, and which one a requirement picks.

The rules of versions are those of the `packaging` distribution, which `componentize-py` puts into
the component together with CPython.
"""

from lithox_handler import HandlerError, WitWorld, handler  # noqa: F401 - the node calls WitWorld
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version


@handler
def publish(self, version, notes=""):
    """Adds a version, in any spelling; returns it as it is kept."""
    try:
        name = str(Version(version))
    except InvalidVersion:
        raise HandlerError("bad_version", f"{version!r} is no version") from None
    key = f"release/{name}"
    if key in self.state:
        raise HandlerError("published", f"{name} was published before", {"version": name})
    self.state[key] = {"notes": notes, "at": self.now(), "by": self.caller, "yanked": False}
    return name


@handler
def yank(self, version):
    """Takes a version out of what `pick` gives; it stays known."""
    release = self.state.get(f"release/{Version(version)}")
    if release is None:
        raise HandlerError("unknown", f"{version} was never published")
    release["yanked"] = True


@handler
def versions(self):
    """Returns every version, oldest first, as versions are ordered and not as text is."""
    return sorted((key[len("release/") :] for key, _ in self.scan("release/")), key=Version)


@handler
def pick(self, requirement=""):
    """Returns the newest version that a requirement such as `>=1.2,<2` allows, or None."""
    try:
        allowed = SpecifierSet(requirement or "")
    except InvalidSpecifier:
        raise HandlerError("bad_requirement", f"{requirement!r} is no requirement") from None
    known = [key[len("release/") :] for key, row in self.scan("release/") if not row["yanked"]]
    return max(allowed.filter(known), key=Version, default=None)
