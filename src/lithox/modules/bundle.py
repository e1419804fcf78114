"""What one deploy carries: a manifest and the files it names, from a folder or over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lithox.errors import ConfigError, NotFound, TooLarge
from lithox.model.bundles import BUNDLE_BYTES_MAX, SOURCE_BYTES_MAX, WASM_BYTES_MAX
from lithox.modules.manifest import MANIFEST_NAME, Manifest, parse_manifest

WASM: Final = "wasm"
_MANIFEST_SUFFIX: Final = ".toml"


def bytes_max_of(language: str | None) -> int:
    """Returns how many bytes a source of `language` may have; None for code of the stores."""
    return WASM_BYTES_MAX if language == WASM else SOURCE_BYTES_MAX


def language_words(language: str | None) -> str:
    """Returns what a source of `language` is called in a message."""
    return "a WebAssembly module" if language == WASM else "a source"


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
        total, counted = 0, set[str]()
        for what, source, language in manifest.sources():
            content = self.files.get(source)
            if content is None:
                raise ConfigError(
                    f"{MANIFEST_NAME}: {what} names {source!r}, which is not there",
                    file=MANIFEST_NAME,
                )
            bytes_max = bytes_max_of(language)
            if len(content) > bytes_max:
                raise TooLarge(
                    f"{source}: {len(content)} bytes; {language_words(language)} has at most "
                    f"{bytes_max}",
                    file=source,
                    allowed=bytes_max,
                )
            if source not in counted:
                counted.add(source)
                total += len(content)
        if total > BUNDLE_BYTES_MAX:
            raise TooLarge(f"the bundle has {total} bytes; at most {BUNDLE_BYTES_MAX} are taken")
        return manifest


def read_bundle(path: Path) -> Bundle:
    """Returns the bundle in folder `path`, or beside the manifest `path`. Blocks for the disk.

    Raises:
        NotFound: no `lithox.toml` there.
        ConfigError: `path` is a file of another kind; the manifest is not text, malformed, or names
            a file that cannot be read.
    """
    if path.is_file() and path.suffix != _MANIFEST_SUFFIX:
        raise ConfigError(
            f"{path}: what is deployed is a folder with a {MANIFEST_NAME}, which names the sources"
        )
    manifest_path = path / MANIFEST_NAME if path.is_dir() else path
    folder = manifest_path.parent
    try:
        text = manifest_path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"no {MANIFEST_NAME} in {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{manifest_path}: cannot be read: {error}") from None
    bounds: dict[str, int] = {}
    for _, name, language in parse_manifest(text, file_name=str(manifest_path)).sources():
        bounds[name] = max(bytes_max_of(language), bounds.get(name, 0))
    files: dict[str, bytes] = {}
    for name, bytes_max in bounds.items():
        try:
            with (folder / name).open("rb") as opened:
                files[name] = opened.read(bytes_max + 1)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(
                f"{manifest_path}: {name}: cannot be read: {why}",
                file=str(manifest_path),
            ) from None
    return Bundle(manifest=text, files=files)
