"""`lithox entity ls/show/get/put/rm`: what is remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from lithox.cli.backend import Backend, open_backend
from lithox.cli.commands_run import NumbersAllowed, read_argument, unshield
from lithox.cli.options import COUNT, Target, target_options
from lithox.cli.terminal import escape_line

PAGE_SIZE: Final = 500
LISTED_DEFAULT: Final = 1000


@click.group()
def entity() -> None:
    """Entities and their state."""


@entity.command("ls")
@click.argument("prefix", default="")
@click.option(
    "--limit", type=COUNT, default=LISTED_DEFAULT, show_default=True, help="How many at most."
)
@click.option("--from", "start", default="", help="Only keys from this one on.")
@click.option("--to", "end", default=None, help="Only keys before this one.")
@target_options
def entity_ls(  # noqa: PLR0913 - one parameter for each option
    *, prefix: str, limit: int, start: str, end: str | None, target: Target, as_json: bool
) -> None:
    """List entities, or with `ENTITY:` the keys of one (`lithox entity ls counter/alice:`)."""
    from lithox.cli.console import print_json, run_async

    if ":" not in prefix and (start or end is not None):
        raise click.UsageError("--from and --to are for the keys of one entity: ls ENTITY:")

    async def work() -> tuple[list[str], bool]:
        async with open_backend(target) as node:
            return await _list(node, prefix, limit, start=start, end=end)

    names, more = run_async(work())
    if as_json:
        print_json({"names": names, "more": more})
        return
    for name in names:
        click.echo(escape_line(name))
    if more:
        click.echo(f"lithox: there are more; use --limit above {limit}", err=True)


async def _list(
    node: Backend, prefix: str, limit: int, *, start: str, end: str | None
) -> tuple[list[str], bool]:
    """Returns up to `limit` names, page by page, and whether others follow."""
    owner, colon, key_prefix = prefix.partition(":")
    found: list[str] = []
    more = True
    while more and len(found) < limit:
        after = found[-1] if found else ""
        page_limit = min(PAGE_SIZE, limit - len(found))
        if colon:
            items, more = await node.state_list(
                owner, key_prefix, start=start, end=end, after=after, limit=page_limit
            )
            names = list(items)
        else:
            names, more = await node.entities(prefix, after=after, limit=page_limit)
        found += names
        more = more and bool(names)
    return found, more


@entity.command("show")
@click.argument("name", metavar="ENTITY")
@target_options
def entity_show(*, name: str, target: Target, as_json: bool) -> None:
    """Describe ENTITY: owner, template, handlers, access, limits, size."""
    from lithox.cli.console import print_json, run_async
    from lithox.model.values import to_json

    async def work() -> dict[str, Any]:
        async with open_backend(target) as node:
            return await node.entity_show(name)

    print_json(to_json(run_async(work())), is_indented=not as_json)


@entity.command("get")
@click.argument("name", metavar="ENTITY")
@click.argument("key")
@click.option("--raw", is_flag=True, help="The bytes of a big value, of text or of bytes.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write those bytes to a file.",
)
@target_options
def entity_get(  # noqa: PLR0913 - one parameter for each option
    *, name: str, key: str, raw: bool, output: Path | None, target: Target, as_json: bool
) -> None:
    """Print the value of KEY in ENTITY's state as JSON, or with --raw as it is.

    With -o the file is there only once the whole value is in it.
    """
    from lithox.cli.console import print_json, print_value, run_async
    from lithox.cli.values import copy_out
    from lithox.model.values import to_json

    if raw or output is not None:
        size = run_async(copy_out(target, name, key, output))
        if as_json and output is not None:
            print_json({"status": "ok", "size": size})
        return

    async def work() -> Any:
        async with open_backend(target) as node:
            return await node.state_get(name, key)

    value = run_async(work())
    if as_json:
        print_json({"value": to_json(value)})
    else:
        print_value(value)


@entity.command("put", cls=NumbersAllowed)
@click.argument("name", metavar="ENTITY")
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--file",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    help="Write the bytes of a file as a big value; - is the standard input.",
)
@target_options
def entity_put(  # noqa: PLR0913 - one parameter for each option
    *,
    name: str,
    key: str,
    value: str | None,
    source: Path | None,
    target: Target,
    as_json: bool,
) -> None:
    """Write VALUE (JSON; a bare word is a text), or a file, under KEY in ENTITY's state."""
    from lithox.cli.console import print_json, run_async
    from lithox.cli.values import copy_in

    name, key = unshield(name), unshield(key)
    if (value is None) == (source is None):
        raise click.UsageError("put takes a VALUE, or --file")
    if source is not None:
        told = run_async(copy_in(target, name, key, source))
        if as_json:
            print_json({"status": "ok", "size": told.size, "digest": told.digest})
        else:
            click.echo(told.digest)
        return
    assert value is not None
    wanted = read_argument(unshield(value))

    async def work() -> None:
        async with open_backend(target) as node:
            await node.state_put(name, key, wanted)

    run_async(work())
    if as_json:
        print_json({"status": "ok"})


@entity.command("rm")
@click.argument("name", metavar="ENTITY")
@click.argument("key", required=False)
@target_options
def entity_rm(
    *,
    name: str,
    key: str | None,
    target: Target,
    as_json: bool,
) -> None:
    """Delete KEY of ENTITY, or without KEY the entity with all its state."""
    from lithox.cli.console import print_json, run_async

    async def work() -> None:
        async with open_backend(target) as node:
            if key is None:
                await node.entity_delete(name)
            else:
                await node.state_delete(name, key)

    run_async(work())
    if as_json:
        print_json({"status": "ok"})
