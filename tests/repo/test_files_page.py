"""What docs/reference/files.md shows is accepted, and it names every key there is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lithox.model.limits import HANDLER_DEFAULT_LIMITS, NODE_DEFAULT_LIMITS
from lithox.modules import services
from lithox.modules.manifest import HandlerSpec, parse_manifest
from lithox.node.config import _KNOWN, NodeConfig, read_config
from lithox.security.access import parse_access
from tests.documents import split
from tests.repo.checkout import ROOT

PAGE = ROOT / "docs" / "reference" / "files.md"


def shown() -> list[str]:
    """Returns the TOML blocks of the page, in order."""
    blocks = split(PAGE.read_text("utf-8"))[1]
    return ["\n".join(block.lines) for block in blocks if block.language == "toml"]


def test_the_manifest_shown_is_accepted() -> None:
    """The first block is a manifest that means what the page says."""
    (template,) = parse_manifest(shown()[0]).templates
    assert (template.match, template.owner, template.pin) == ("shop/cart/*", "caller", False)
    assert template.access is not None
    assert len(parse_access(template.access)) == 2
    assert template.handlers["add"].priority == 5
    assert template.handlers["add"].limits.fuel == 1_000_000
    assert HandlerSpec().priority == 4


def test_the_services_shown_are_accepted() -> None:
    """The second block has one of each kind, and says the defaults the table tells."""
    manifest = parse_manifest(shown()[1])
    assert [spec.kind for spec in manifest.code] == ["program", "library", "runtime"]
    web, db = manifest.services
    assert (web.requires, web.after, web.mode) == (("db",), ("metrics",), "preemptive")
    defaults = ("backoff_min_ms", "backoff_max_ms", "burst", "burst_window_ms", "contexts")
    for name in (*defaults, "stop_deadline_ms", "log"):
        assert getattr(web, name) == getattr(db, name)


def test_every_key_of_a_service_is_told() -> None:
    """The table names each key a service may have."""
    text = PAGE.read_text("utf-8")
    assert [key for key in sorted(services._KNOWN) if f"`{key}`" not in text] == []


def test_the_configuration_shown_is_accepted(tmp_path: Path) -> None:
    """The third block is a configuration that says the defaults and one identity."""
    path = tmp_path / "node.toml"
    path.write_text(shown()[2])
    found = read_config(path)
    standard = NodeConfig()
    assert found.limits == NODE_DEFAULT_LIMITS
    assert found.handler_limits == HANDLER_DEFAULT_LIMITS
    assert found.policy == standard.policy
    for name in ("node_entity", "body_bytes_max", "cache_bytes", "results_per_account_max"):
        assert getattr(found, name) == getattr(standard, name)
    (alice,) = found.identities
    assert (alice.name, alice.account, alice.is_admin) == ("alice", "shop", False)
    assert alice.token_sha256 == hashlib.sha256(b"secret").hexdigest()


def test_every_key_of_the_configuration_is_told() -> None:
    """The table has a row for each key the node knows."""
    text = PAGE.read_text("utf-8")
    assert [key for key in sorted(_KNOWN) if f"| `{key}` |" not in text] == []
