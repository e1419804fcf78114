"""`lithox entity ls/show/get/put/rm`: what is remembered."""

from __future__ import annotations

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
@target_options
def entity_ls(*, prefix: str, limit: int, target: Target, as_json: bool) -> None:
    """List entities, or with `ENTITY:` the keys of one (`lithox entity ls counter/alice:`)."""
    from lithox.cli.console import print_json, run_async

    async def work() -> tuple[list[str], bool]:
        async with open_backend(target) as node:
            return await _list(node, prefix, limit)

    names, more = run_async(work())
    if as_json:
        print_json({"names": names, "more": more})
        return
    for name in names:
        click.echo(escape_line(name))
    if more:
        click.echo(f"lithox: there are more; use --limit above {limit}", err=True)


async def _list(node: Backend, prefix: str, limit: int) -> tuple[list[str], bool]:
    """Returns up to `limit` names, page by page, and whether others follow."""
    owner, colon, key_prefix = prefix.partition(":")
    found: list[str] = []
    more = True
    while more and len(found) < limit:
        after = found[-1] if found else ""
        page_limit = min(PAGE_SIZE, limit - len(found))
        if colon:
            items, more = await node.state_list(owner, key_prefix, after=after, limit=page_limit)
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
@target_options
def entity_get(*, name: str, key: str, target: Target, as_json: bool) -> None:
    """Print the value of KEY in ENTITY's state as JSON."""
    from lithox.cli.console import print_json, print_value, run_async
    from lithox.model.values import to_json

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
@click.argument("value")
@target_options
def entity_put(
    *,
    name: str,
    key: str,
    value: str,
    target: Target,
    as_json: bool,
) -> None:
    """Write VALUE (JSON; a bare word is a text) under KEY in ENTITY's state."""
    from lithox.cli.console import print_json, run_async

    wanted = read_argument(unshield(value))
    name, key = unshield(name), unshield(key)

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
