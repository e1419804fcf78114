"""A server that goes away in the middle: nothing acknowledged is lost, nothing happens twice."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from lithox.errors import ConfigError, StoreCorrupt, StoreUnavailable
from lithox.store.contract import Commit
from lithox.store.crash_points import COMMIT_POINTS
from lithox.store.postgres import PostgresOptions, PostgresStore
from lithox.testing.postgres_server import ADMIN, PostgresServer
from tests.conformance.store.pairs import NodeStore, Outcome
from tests.conformance.store.proxies import CuttingProxy
from tests.conformance.store.worlds import PostgresWorld, session_server
from tests.servers import require_postgres

COUNTERS = 8


@pytest.fixture
def world() -> Iterator[PostgresWorld]:
    made = PostgresWorld(session_server())
    made.options["is_deaf"] = True
    made.open()
    yield made
    made.end()


class Counting:
    """Increments counters through one node and remembers what it was told."""

    def __init__(self, node: NodeStore) -> None:
        self.node = node
        self.counts = [0] * COUNTERS
        """As the node shows them."""
        self.told: list[tuple[int, Outcome]] = []
        self.refused = 0

    def increment(self, number: int) -> None:
        name, store = f"counter/{number}", self.node.store
        try:
            snapshot = store.open_snapshot()
            item = snapshot.find(name, "n")
            snapshot.release()
            value = b"%d" % (1 + int(item.value if item else 0))
            outcome = Outcome()
            commit = Commit(snapshot.version, reads=[(name, "n")], writes={(name, "n"): value})
            assert store.submit(commit, outcome.add) is not None
        except StoreUnavailable:
            self.refused += 1
            return
        self.told.append((number, outcome))

    def settle(self) -> None:
        """Waits until everybody is told."""
        self.node.wait_until(lambda: all(outcome.errors for _, outcome in self.told))

    def count_committed(self) -> list[int]:
        committed = [0] * COUNTERS
        for number, outcome in self.told:
            assert len(outcome.errors) == 1
            committed[number] += outcome.is_committed
        return committed


def read_counters(world: PostgresWorld) -> list[int]:
    """Returns what a new node finds."""
    node = NodeStore(world)
    found = [int(node.read(f"counter/{number}", "n") or 0) for number in range(COUNTERS)]
    node.store.close()
    return found


@pytest.mark.parametrize("mode", ["swallow", "answerless"])
@pytest.mark.parametrize("point", COMMIT_POINTS[:4])
def test_connection_cut_at_every_point(world: PostgresWorld, point: str, mode: str) -> None:
    """Cut before the server sees a commit or before its answer arrives: done once, and told so."""
    proxy = CuttingProxy(world.server.port)
    reached = 0

    def reach(name: str) -> None:
        nonlocal reached
        reached += name == point
        if name == point and reached % 3 == 0:
            proxy.arm(mode)

    world.port = proxy.port
    world.options["reach"] = reach
    node = NodeStore(world)
    counting = Counting(node)
    for number in range(60):
        counting.increment(number % COUNTERS)
        if number % 4 == 0:
            counting.settle()
            node.wait_until(lambda: bool(node.store.statistics()["is_writable"]))
    counting.settle()
    reconnects = node.store.statistics()["reconnects"]
    node.store.close()
    world.port = None
    world.options["reach"] = lambda name: None
    proxy.close()
    assert proxy.cuts >= 3
    assert reconnects >= 3
    assert len(counting.told) >= 30
    assert all(outcome.is_committed for _, outcome in counting.told)
    assert read_counters(world) == counting.count_committed()


def test_backend_terminated_in_a_commit(world: PostgresWorld) -> None:
    """An operator who ends the server's side of a waiting commit harms nobody."""
    node = NodeStore(world)
    counting = Counting(node)
    world.hold()
    for number in range(20):
        counting.increment(number % COUNTERS)
    find = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid <> "
        "pg_backend_pid() AND datname = current_database()"
    )
    while not (rows := world.admin.execute(find).fetchall()):
        pass
    for (pid,) in rows:
        world.admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
    node.wait_until(lambda: not node.store.statistics()["is_writable"])
    with pytest.raises(StoreUnavailable):
        node.store.submit(Commit(0, writes={("a", "k"): b"1"}), Outcome().add)
    assert not any(outcome.errors for _, outcome in counting.told)
    world.release()
    counting.settle()
    assert all(outcome.is_committed for _, outcome in counting.told)
    node.store.close()
    assert read_counters(world) == counting.count_committed()


def test_slow_commit_is_tried_again(world: PostgresWorld) -> None:
    """A commit that waits too long for a lock, or at all, is cancelled and sent again."""
    world.options |= {"lock_timeout_ms": 50, "statement_timeout_ms": 2_000}
    node = NodeStore(world)
    counting = Counting(node)
    world.hold()
    counting.increment(0)
    node.wait_until_counted("batches_again", 2)
    world.release()
    counting.settle()
    assert counting.count_committed()[0] == 1
    node.store.close()
    assert read_counters(world)[0] == 1


def test_silent_node_holds_no_lock(world: PostgresWorld) -> None:
    """A transaction whose node says nothing more is ended by the server, and others go on."""
    world.options["transaction_idle_ms"] = 100
    node = NodeStore(world)
    node.write("a", "1")
    silent = psycopg.connect(world.server.address())
    silent.execute("SET idle_in_transaction_session_timeout = 100")
    silent.execute(f"SELECT * FROM {world.schema}.entities FOR UPDATE")
    node.write("a", "2")
    silent.close()
    node.store.close()


def test_node_whose_place_was_taken_stops(world: PostgresWorld) -> None:
    """A node that others took for dead commits nothing any more, and says so."""
    node = NodeStore(world)
    node.write("a", "1")
    world.admin.execute(f"UPDATE {world.schema}.nodes SET node_id = 'another'")
    outcome = node.finish(Commit(node.store.visible_version, writes={("a", "k"): b"2"}))
    node.wait(outcome)
    assert [type(error) for error in outcome.errors] == [StoreUnavailable]
    with pytest.raises(StoreUnavailable, match="silent"):
        node.store.submit(Commit(0, writes={("a", "k"): b"3"}), Outcome().add)
    node.store.close()
    again = NodeStore(world)
    assert again.read("a") == b"1"
    again.store.close()


# Opening.


def open_store(world: PostgresWorld, **options: object) -> None:
    chosen = {"schema": world.schema, "migrate": "verify", **options}
    PostgresStore.open(
        world.server.address(),
        post=lambda call: None,
        options=PostgresOptions(**chosen),  # type: ignore[arg-type]
    ).close()


def test_missing_schema_is_refused_unless_applied(world: PostgresWorld) -> None:
    """Verifying makes nothing and says how to; applying makes it, once."""
    with pytest.raises(ConfigError, match='store_migrate = "apply"'):
        open_store(world, schema="not_there")
    row = world.admin.execute("SELECT to_regnamespace('not_there')").fetchone()
    assert row == (None,)
    open_store(world, schema="made_now", migrate="apply")
    open_store(world, schema="made_now")
    world.admin.execute("DROP SCHEMA made_now CASCADE")


def test_newer_and_foreign_schemas_are_refused(world: PostgresWorld) -> None:
    """What a newer lithox or another program has made is left alone."""
    world.admin.execute(f"UPDATE {world.schema}.meta SET value = '99' WHERE name LIKE 'lithox%'")
    for migrate in ("verify", "apply"):
        with pytest.raises(StoreCorrupt, match="version 99"):
            open_store(world, migrate=migrate)
    world.admin.execute(f"DELETE FROM {world.schema}.meta WHERE name LIKE 'lithox%'")
    with pytest.raises(StoreCorrupt, match="another program"):
        open_store(world, migrate="apply")
    world.admin.execute(
        f"INSERT INTO {world.schema}.meta VALUES ('lithox_schema_version', '1');"
        f"DROP TABLE {world.schema}.audit"
    )
    with pytest.raises(StoreCorrupt, match="lacks audit"):
        open_store(world, migrate="apply")


def test_address_and_password_are_never_told(world: PostgresWorld) -> None:
    """A wrong address, port or password is refused without repeating any secret."""
    secret = "hunter2secret"
    port = world.server.port
    for address in (
        f"postgresql://lithox:{secret}@127.0.0.1:{port}/lithox",
        f"postgresql://lithox:{secret}@127.0.0.1:1/lithox",
        f"postgresql://lithox:{secret}@127.0.0.1:{port}/lithox?nonsense=1",
        f"postgresql://[{secret}",
    ):
        with pytest.raises((ConfigError, StoreUnavailable)) as caught:
            PostgresStore.open(address, post=lambda call: None)
        assert secret not in str(caught.value)
        assert secret not in str(caught.value.__cause__)


# The server itself.


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    require_postgres()
    with PostgresServer() as server:
        yield server


def test_killed_server_loses_nothing(own_server: PostgresServer) -> None:
    """SIGKILL of the server among commits, and a new start: each commit is done once or not."""
    world = PostgresWorld(own_server)
    node = NodeStore(world)
    counting = Counting(node)
    for round_number in range(3):
        for number in range(400):
            counting.increment(number % COUNTERS)
            if number % 7 == 0:
                node.go_round()
            if number == 100 * (round_number + 1):
                own_server.kill()
        own_server.start()
        counting.settle()
        node.wait_until(lambda: bool(node.store.statistics()["is_writable"]))
    assert sum(counting.count_committed()) >= 300
    assert node.store.statistics()["reconnects"] >= 3
    for number in range(COUNTERS):
        counting.increment(number)
    counting.settle()
    node.store.close()
    world.admin.close()
    world.admin = psycopg.connect(own_server.address(ADMIN), autocommit=True)
    assert read_counters(world) == counting.count_committed()
    world.admin.close()


def test_closing_without_a_server_ends(own_server: PostgresServer) -> None:
    """Closing waits a bounded time for a server that is gone, and tells who waits."""
    world = PostgresWorld(own_server)
    world.options["close_wait_s"] = 0.1
    node = NodeStore(world)
    counting = Counting(node)
    counting.increment(0)
    counting.settle()
    own_server.kill()
    counting.increment(0)
    node.store.close()
    world.admin.close()
    ends = [outcome.errors for _, outcome in counting.told]
    assert ends[0] == [None]
    assert [type(error) for error in ends[1]] == [StoreUnavailable]
    own_server.start()


def test_server_that_may_lose_is_refused() -> None:
    """A server without fsync is refused, unless told that its answers may be lost."""
    require_postgres()
    settings = {"fsync": "off", "synchronous_commit": "off"}
    with PostgresServer(settings) as server:
        options = {"migrate": "apply"}
        with pytest.raises(ConfigError, match="fsync switched off"):
            PostgresStore.open(
                server.address(), post=lambda call: None, options=PostgresOptions(**options)
            )
        PostgresStore.open(
            server.address(),
            post=lambda call: None,
            options=PostgresOptions(is_unsafe=True, **options),
        ).close()


@pytest.mark.parametrize("mode", ["swallow", "answerless"])
def test_connection_cut_again_while_asking_what_became_of_a_commit(
    world: PostgresWorld, mode: str
) -> None:
    """Lost a second time while the fence is moved: what was in before is still known to be in."""
    proxy = CuttingProxy(world.server.port)
    wanted = ["commit.before_sync", "fence.before_commit", "fence.before_commit"]
    left: list[str] = []

    def reach(name: str) -> None:
        if left and name == left[0]:
            left.pop(0)
            proxy.arm("answerless" if name.startswith("commit") else mode)

    world.port = proxy.port
    world.options["reach"] = reach
    node = NodeStore(world)
    counting = Counting(node)
    for _ in range(3):
        counting.increment(0)
        counting.settle()
        left[:] = wanted
        counting.increment(0)
        counting.settle()
        node.wait_until(lambda: bool(node.store.statistics()["is_writable"]))
        assert left == []
    node.store.close()
    world.port = None
    world.options["reach"] = lambda name: None
    proxy.close()
    assert all(outcome.is_committed for _, outcome in counting.told)
    assert read_counters(world) == counting.count_committed()


def test_notice_that_fails_says_nothing_of_its_commit(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses a notice has committed all the same, and everybody is told so."""
    monkeypatch.setattr(
        "lithox.store.postgres.statements.NOTIFY", "SELECT pg_notify(%b, %b || repeat('x', 9000))"
    )
    node = NodeStore(world)
    counting = Counting(node)
    for number in range(20):
        counting.increment(number % COUNTERS)
        counting.settle()
    node.store.close()
    assert node.store.statistics()["batches"] >= COUNTERS
    assert all(outcome.is_committed for _, outcome in counting.told)
    assert read_counters(world) == counting.count_committed()
