"""The frame in which a bundle travels whole: a line that says what follows, then the files' bytes.

    {"format":"lithox-bundle","version":1,"manifest":TEXT,"files":[[NAME,BYTES],...]}
    the bytes of each file, in that order, nothing between and nothing behind

The line ends with a line feed. A JSON body of a deploy carries files as text or base64 and has to
be whole in memory three times; in this frame a module of 64 MiB is there once while it comes, twice
for a moment at its end. Pure: bytes in, files out; what is announced is checked before any of it is
taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

from lithox.errors import BadArguments, TooLarge
from lithox.model.values import parse_json

FORMAT: Final = "lithox-bundle"
VERSION: Final = 1
MEDIA_TYPE: Final = "application/octet-stream"
"""No browser sends it across origins without asking first, as the gateway needs it."""
SOURCE_BYTES_MAX: Final = 1 << 20
"""One source file of text; a larger program is a WebAssembly module, which has its own bound."""
WASM_BYTES_MAX: Final = 64 << 20
"""One WebAssembly module. A component with all of CPython in it has about 40 MiB."""
BUNDLE_BYTES_MAX: Final = WASM_BYTES_MAX + (16 << 20)
"""The largest module and texts beside it: one commit takes all, a third of what the store lets wait
for the disk (`store.visible`)."""
HEAD_BYTES_MAX: Final = 4 << 20
FILES_MAX: Final = 4_096
PART_BYTES: Final = 256 << 10
"""Bytes that leave at a time."""
_encode: Final = msgspec.json.Encoder().encode


def write_bundle(manifest: str, files: Mapping[str, bytes]) -> Iterator[bytes]:
    """Gives the frame of a bundle, a part at a time; never a copy of more than a part."""
    listed = [[name, len(content)] for name, content in files.items()]
    head = {"format": FORMAT, "version": VERSION, "manifest": manifest, "files": listed}
    yield _encode(head) + b"\n"
    for content in files.values():
        for start in range(0, len(content), PART_BYTES):
            yield content[start : start + PART_BYTES]


class BundleReader:
    """Takes a frame apart as it comes.

    Attributes:
        manifest: the text of `lithox.toml`, "" before it has come.
        files: name -> bytes of the files that are whole.
    """

    __slots__ = ("_head", "_head_bytes", "_left", "_parts", "_wanted", "files", "manifest")

    def __init__(self) -> None:
        """Waits for the first line."""
        self.manifest = ""
        self.files: dict[str, bytes] = {}
        self._head: list[bytes] | None = []
        self._head_bytes = 0
        self._wanted: list[tuple[str, int]] = []
        """Files that have not come whole, the next one last."""
        self._left = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            BadArguments: no such frame, or more than it announced.
            TooLarge: the first line, a file or all of them are above their bound.
        """
        if self._head is not None:
            end = data.find(b"\n")
            self._head.append(data if end < 0 else data[:end])
            self._head_bytes += len(self._head[-1])
            if self._head_bytes > HEAD_BYTES_MAX:
                raise TooLarge(f"the first line of a bundle has at most {HEAD_BYTES_MAX} bytes")
            if end < 0:
                return
            head = b"".join(self._head)
            self._head = None
            self._begin(head)
            data = data[end + 1 :]
        self._take(memoryview(data))

    def finish(self) -> None:
        """Raises BadArguments unless all that was announced has come."""
        if self._head is not None or self._wanted:
            raise _refusal("it is cut off")

    def _begin(self, line: bytes) -> None:
        found = parse_json(line)
        head = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        if head.get("format") != FORMAT or head.get("version") != VERSION:
            raise _refusal(f'its first line has "format":"{FORMAT}","version":{VERSION}')
        manifest, listed = head.get("manifest"), head.get("files")
        if not isinstance(manifest, str) or not isinstance(listed, list):
            raise _refusal('its first line has "manifest", a text, and "files", a list')
        files = [_read_entry(one) for one in cast("list[Any]", listed)]
        if len(files) > FILES_MAX or len(dict(files)) != len(files):
            raise _refusal(f"it has at most {FILES_MAX} files, each with a name of its own")
        total = sum(size for _, size in files)
        if total > BUNDLE_BYTES_MAX:
            raise TooLarge(
                f"the bundle has {total} bytes; at most {BUNDLE_BYTES_MAX} are taken",
                used=total,
                allowed=BUNDLE_BYTES_MAX,
            )
        self.manifest = manifest
        self._wanted = files[::-1]
        self._next_file()

    def _next_file(self) -> None:
        """Goes on to the next file that has bytes."""
        while self._wanted:
            name, self._left = self._wanted[-1]
            if self._left:
                return
            self.files[name] = b""
            self._wanted.pop()

    def _take(self, data: memoryview) -> None:
        while data:
            if not self._wanted:
                raise _refusal("something follows its end")
            part = data[: self._left]
            data = data[len(part) :]
            self._parts.append(bytes(part))
            self._left -= len(part)
            if not self._left:
                self.files[self._wanted.pop()[0]] = b"".join(self._parts)
                self._parts.clear()
                self._next_file()


def _read_entry(data: Any) -> tuple[str, int]:
    entry = cast("list[Any]", data) if isinstance(data, list) else []
    if len(entry) == 2 and isinstance(entry[0], str) and type(entry[1]) is int and entry[1] >= 0:
        return entry[0], entry[1]
    raise _refusal('each of its "files" is a name and a number of bytes')


def _refusal(found: str) -> BadArguments:
    return BadArguments(f"this is not a whole bundle: {found}")
