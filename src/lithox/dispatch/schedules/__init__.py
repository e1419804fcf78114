"""Timers and schedules of entities: state that calls a handler when its time has come.

See README.md in this folder.
"""
