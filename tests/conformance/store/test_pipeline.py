"""Several segments on their way at once: what one has prepared is not believed of another."""

from __future__ import annotations

import os

import psycopg
import pytest

from lithox.store.postgres.pipeline import Pipeline
from tests.conformance.store.worlds import session_server


def test_statement_of_a_failed_segment_is_prepared_again() -> None:
    """The segment before it ends well while it is on its way; its skipped statement works later."""
    wake, other = os.pipe()
    with psycopg.connect(session_server().address(), autocommit=True) as connection:
        pipeline = Pipeline(connection, wake=wake)
        pipeline.send("SELECT 1")
        pipeline.sync()
        pipeline.send("SELECT 1 / 0")
        pipeline.send("SELECT 2")
        pipeline.sync()
        assert pipeline.receive(None)
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipeline.receive(None)
        pipeline.send("SELECT 2")
        pipeline.sync()
        assert pipeline.receive(None)
        pipeline.leave()
    os.close(wake)
    os.close(other)
