"""`lithox backup`, `restore`, `store migrate`, `entity export` and `import`: data on the move."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lithox.cli.options import Target, data_option, json_option, target_options

if TYPE_CHECKING:
    from lithox.node.moving_stores import Moved, Place

_force: Final = click.option("--force", is_flag=True, help="Replace FILE if it is there.")
_store: Final = click.option(
    "--store", "store_url", metavar="URL", help="The store: sqlite:DIR_OR_FILE or postgresql://..."
)


@click.command()
@click.argument("file")
@_store
@_force
@target_options
def backup(*, file: str, store_url: str | None, force: bool, target: Target, as_json: bool) -> None:
    """Copy a whole store into the archive FILE (`-`: stdout), of a running node or of one at rest.

    A node goes on while it is copied; the copy is one moment, with all that was answered before.
    """
    from lithox.cli.archives import STANDARD, Passing, Told, say_moved, writing
    from lithox.cli.console import run_async
    from lithox.model.archive import KIND_STORE

    with writing(file, is_forced=force) as out, Told() as told:
        passing = Passing(KIND_STORE, told, "copied")
        if store_url is None and target.url is not None:
            run_async(_copy_from_node(target.url, target.token, out, passing))
        else:
            from lithox.node.moving_stores import backup as copied

            for chunk in copied(_place(store_url, target.data)):
                out.write(passing.note(chunk))
        done = passing.finish()
    say_moved("copied", done, as_json=as_json, is_piped=file == STANDARD)


async def _copy_from_node(url: str, token: str | None, out: Any, passing: Any) -> None:
    from lithox.cli.waiting_node import wait_until_listening
    from lithox.client import Client

    await wait_until_listening(url)
    async with Client(url, token) as node:
        async for chunk in node.backup():
            out.write(passing.note(chunk))


@click.command()
@click.argument("file")
@_store
@data_option
@json_option
def restore(*, file: str, store_url: str | None, data: Path, as_json: bool) -> None:
    """Make a store of the archive FILE (`-`: stdin); what is there already is not touched.

    All of it or nothing: a damaged archive, or a restore that is broken off, leaves no store.
    """
    from lithox.cli.archives import Told, reading, say_moved
    from lithox.node.moving_stores import restore as restored

    with reading(file) as chunks, Told() as told:
        moved = restored(chunks, _place(store_url, data), told.note)
    say_moved("restored and verified", _plain(moved), as_json=as_json)


@click.command("migrate")
@click.argument("source")
@click.argument("destination", metavar="TARGET")
@json_option
def store_migrate(*, source: str, destination: str, as_json: bool) -> None:
    """Copy the store SOURCE into the empty store TARGET, and read it again to prove it.

    Either is sqlite:DIR_OR_FILE or postgresql://...; no node may run on them.
    """
    from lithox.cli.archives import Told, say_moved
    from lithox.node.moving_stores import migrate, place_of

    with Told() as told:
        moved = migrate(place_of(source), place_of(destination), told.note)
    say_moved("copied and verified", _plain(moved), as_json=as_json)


@click.command("export")
@click.argument("pattern", metavar="ENTITY_OR_PATTERN")
@click.option("-o", "--output", "file", default="-", metavar="FILE", help="Where to; else stdout.")
@_force
@target_options
def entity_export(*, pattern: str, file: str, force: bool, target: Target, as_json: bool) -> None:
    """Write entities as an archive of JSON lines: record, state, timers, big values.

    In a pattern `*` is one segment and `**`, last, the rest.
    """
    from lithox.cli.archives import STANDARD, Passing, Told, say_moved, writing
    from lithox.cli.backend import open_backend
    from lithox.cli.console import run_async
    from lithox.model.archive import KIND_ENTITIES

    async def work(out: Any, passing: Passing) -> None:
        async with open_backend(target) as node:
            async for chunk in node.entity_export(pattern):
                out.write(passing.note(chunk))

    with writing(file, is_forced=force) as out, Told() as told:
        passing = Passing(KIND_ENTITIES, told, "exported")
        run_async(work(out, passing))
        done = passing.finish()
    if file != STANDARD or as_json:
        say_moved("exported", done, as_json=as_json, is_piped=file == STANDARD)


@click.command("import")
@click.argument("file")
@click.option("--replace", "mode", flag_value="replace", help="Replace entities that are there.")
@click.option("--skip", "mode", flag_value="skip", help="Leave entities that are there.")
@target_options
def entity_import(*, file: str, mode: str | None, target: Target, as_json: bool) -> None:
    """Make the entities of the archive FILE (`-`: stdin); nothing of a damaged one.

    An entity is one commit, unless it is large. One that is there is refused, and ends the import,
    unless --replace or --skip says otherwise.
    """
    from lithox.cli.archives import reading
    from lithox.cli.backend import open_backend
    from lithox.cli.console import print_json, run_async, with_progress

    async def work(chunks: Iterator[bytes]) -> dict[str, Any]:
        async with open_backend(target, may_create=True) as node:
            taken = node.entity_import(_give(chunks), mode=mode or "refuse")
            return await with_progress(taken, "importing")

    with reading(file) as chunks:
        done = run_async(work(chunks))
    if as_json:
        print_json(done)
        return
    click.echo(
        f"imported {done['imported']:,} entities with {done['keys']:,} keys, "
        f"skipped {done['skipped']:,}"
    )
    if done["in_pieces"]:
        names = ", ".join(done["in_pieces"][:5])
        click.echo(f"lithox: in several commits, because they are large: {names}", err=True)


async def _give(chunks: Iterator[bytes]) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk


def _place(store_url: str | None, data: Path) -> Place:
    from lithox.node.moving_stores import SqlitePlace, place_of

    return SqlitePlace(data) if store_url is None else place_of(store_url)


def _plain(moved: Moved) -> dict[str, Any]:
    return {"counts": moved.counts, "rows_sha256": moved.rows_sha256}
