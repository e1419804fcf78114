"""`lithox serve`: a node and its HTTP gateway until a signal says stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from lithox.cli.options import data_option, json_option

if TYPE_CHECKING:
    from lithox.cli.serving_parent import Order
    from lithox.gateway.serve import Address
    from lithox.gateway.settings import GatewaySettings
    from lithox.node.config import NodeConfig

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@click.command()
@data_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Address to listen on; port 0 takes a free one.  [default: 127.0.0.1:7070]",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="LITHOX_CONFIG",
    help="Configuration file (TOML).",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    envvar="LITHOX_PROCESSES",
    help="Processes behind the one address.  [default: one for each core]",
)
@click.option(
    "--spread",
    multiple=True,
    metavar="PATTERN",
    help="Place entities such as counter/* over all processes; else they live in the first.",
)
@click.option(
    "--direct",
    is_flag=True,
    help="Each process listens on a port of its own, too: the ones behind the address.",
)
@click.option(
    "--cooperative",
    is_flag=True,
    help="Programs switch at system calls only; limits and kills hold all the same.",
)
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="Least level of log lines.",
)
@click.option(
    "--log-format",
    type=click.Choice(("auto", "json", "human")),
    default="auto",
    show_default=True,
    help="auto: words on a terminal, else JSON lines.",
)
@json_option
def serve(  # noqa: PLR0913 - one a word of the command line; all by keyword
    *,
    data: Path,
    listen: str | None,
    config_path: Path | None,
    processes: int | None,
    spread: tuple[str, ...],
    direct: bool,
    cooperative: bool,
    as_json: bool,
    **logs: str,
) -> None:
    """Run a node until SIGTERM or Ctrl-C.

    It has a process for each core. Entities live in the first one, unless --spread or the
    configuration says which are placed over all of them.

    What runs then is finished or aborted; nothing acknowledged is lost. Prints one line when it
    is ready. A token is wanted from callers unless the node listens on loopback only.
    """
    import uvloop

    from lithox.cli.logs import configure_logs
    from lithox.cli.serving_parent import (
        Order,
        check_processes,
        default_processes,
        warn_of_spread,
    )
    from lithox.node.config import NodeConfig, parse_config, read_config_text

    text = None if config_path is None else read_config_text(config_path)
    config = NodeConfig() if config_path is None else parse_config(text or "", config_path)
    if cooperative:
        config = replace(config, is_cooperative=True)
    settings = _settings_of(config, listen)
    form = logs["log_format"]
    is_human = form == "human" or (form == "auto" and sys.stderr.isatty())
    count = processes or default_processes(data, config)
    check_processes(count, config)
    patterns = (*config.spread, *spread)
    with configure_logs(level=logs["log_level"], is_human=is_human):
        warn_of_spread(count, patterns)
        if count == 1:
            uvloop.run(_serve(data=data, config=config, settings=settings, as_json=as_json))
            return
        order = Order(
            data=data,
            config=config,
            config_path=config_path,
            config_text=text,
            settings=settings,
            processes=count,
            spread=patterns,
            is_direct=direct,
            is_cooperative=cooperative,
            log_level=logs["log_level"],
            is_human=is_human,
        )
        asyncio.run(_serve_processes(order, as_json=as_json))


def _settings_of(config: NodeConfig, listen: str | None) -> GatewaySettings:
    """Returns where to listen; raises ConfigError for an address that lets strangers in."""
    from lithox.errors import ConfigError
    from lithox.gateway.settings import settings_from

    settings = settings_from(
        allowed_hosts=config.allowed_hosts, body_bytes_max=config.body_bytes_max, listen=listen
    )
    if not settings.is_loopback and not config.identities:
        raise ConfigError(
            f"listening on {settings.host}, others can connect: configure at least one "
            "[[identity]] with token_sha256, or listen on 127.0.0.1",
            key="identity",
        )
    return settings


async def _serve_processes(order: Order, *, as_json: bool) -> None:
    """Starts the processes of a server and ends them."""
    from lithox.cli.serving_parent import serve_processes

    stop = asyncio.Event()
    _take_signals(stop)
    await serve_processes(
        order,
        stop=stop,
        on_ready=lambda address: _say_ready(address, order.data, as_json=as_json),
    )
    logging.getLogger(__name__).info("stopped")


async def _serve(
    *, data: Path, config: NodeConfig, settings: GatewaySettings, as_json: bool
) -> None:
    """Opens the node, serves it, closes it."""
    from lithox.cli.garbage import spare_collector
    from lithox.gateway.serve import serve as serve_http
    from lithox.node.node import Node

    stop = asyncio.Event()
    _take_signals(stop)
    async with Node(data, config=config) as node:
        spare_collector()
        await serve_http(
            node,
            settings,
            stop=stop,
            on_ready=lambda address: _say_ready(address, data, as_json=as_json),
        )
    logging.getLogger(__name__).info("stopped")


def _take_signals(stop: asyncio.Event) -> None:
    """The first signal stops gracefully; a second one has its usual meaning: at once."""
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        logging.getLogger(__name__).info("%s: stopping; once more ends at once", number.name)
        stop.set()
        for one in _STOP_SIGNALS:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)


def _say_ready(address: Address, data: Path, *, as_json: bool) -> None:
    """Prints the one line that scripts wait for."""
    from lithox.cli.console import print_json

    if as_json:
        print_json({"status": "ready", "url": address.url, "pid": os.getpid()})
    else:
        print(f"lithox is ready at {address.url} (data in {data})")
    # A closed stdout must not end the node.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
