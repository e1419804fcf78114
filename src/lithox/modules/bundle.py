"""What one deploy carries: a manifest and the files it names, from a folder or over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lithox.errors import ConfigError, NotFound, TooLarge
from lithox.modules.manifest import MANIFEST_NAME, Manifest, parse_manifest

SOURCE_BYTES_MAX: Final = 1 << 20
"""One source file; a larger program is a WebAssembly module, which has its own bound."""
BUNDLE_BYTES_MAX: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A manifest's text and the bytes of each file it names, by relative name."""

    manifest: str
    files: dict[str, bytes]

    def parse(self) -> Manifest:
        """Returns the manifest, after checking that every named file is there and bounded.

        Raises:
            ConfigError: a malformed manifest or a file that is missing.
            TooLarge: a file or the whole is larger than its bound.
        """
        manifest = parse_manifest(self.manifest)
        total = 0
        for what, source in manifest.sources():
            content = self.files.get(source)
            if content is None:
                raise ConfigError(
                    f"{MANIFEST_NAME}: {what} names {source!r}, which is not there",
                    file=MANIFEST_NAME,
                )
            if len(content) > SOURCE_BYTES_MAX:
                raise TooLarge(
                    f"{source}: {len(content)} bytes; a source has at most {SOURCE_BYTES_MAX}"
                )
            total += len(content)
        if total > BUNDLE_BYTES_MAX:
            raise TooLarge(f"the bundle has {total} bytes; at most {BUNDLE_BYTES_MAX} are taken")
        return manifest


def read_bundle(path: Path) -> Bundle:
    """Returns the bundle in folder `path`, or beside the manifest `path`. Blocks for the disk.

    Raises:
        NotFound: no `lithox.toml` there.
        ConfigError: the manifest is not text, malformed, or names a file that cannot be read.
    """
    manifest_path = path / MANIFEST_NAME if path.is_dir() else path
    folder = manifest_path.parent
    try:
        text = manifest_path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"no {MANIFEST_NAME} in {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{manifest_path}: cannot be read: {error}") from None
    files: dict[str, bytes] = {}
    for _, name in parse_manifest(text, file_name=str(manifest_path)).sources():
        try:
            with (folder / name).open("rb") as opened:
                files[name] = opened.read(SOURCE_BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"{manifest_path}: {name}: cannot be read: {why}",
                file=str(manifest_path),
            ) from None
    return Bundle(manifest=text, files=files)
