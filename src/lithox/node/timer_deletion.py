"""An entity's timers go with it: a step of its deletion for each page of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lithox.dispatch.catalog import Resolution
from lithox.dispatch.records import ENTITY_KEY
from lithox.dispatch.schedules.records import DUE, decode_schedule, due_key, schedules_of
from lithox.model.ids import EntityPath
from lithox.node.acts import Plan, Step, Writes
from lithox.store.contract import Range, Snapshot

PAGE_MAX: Final = 500
"""Timers that one commit of a deletion takes, two rows each."""


def delete_timers_first(entity: EntityPath, plan: Plan, removed: dict[str, str]) -> Plan:
    """Returns `plan`, with the timers of `entity` deleted before.

    Args:
        entity: what is deleted.
        plan: deletes all the rest.
        removed: gets what is taken from the index, key -> account, for `Timers.notify_removed`.
    """
    timers = Range(schedules_of(entity), "", None)

    def plan_both(snapshot: Snapshot, resolution: Resolution) -> Step:
        page = snapshot.scan(timers, PAGE_MAX)
        if resolution.record is None or not page.items:
            step = plan(snapshot, resolution)
            return replace(step, ranges=[*step.ranges, timers]) if step.is_last else step
        writes = Writes()
        for timer_id, item in page.items:
            record = decode_schedule(item.value)
            key = due_key(record.due_ms, entity, timer_id)
            removed[key] = record.account
            writes.put(schedules_of(entity), timer_id, None)
            writes.put(DUE, key, None)
        return Step(writes=writes, reads=[(entity, ENTITY_KEY)], is_last=False)

    return plan_both
