"""The languages, for every test beside this file."""

from tests.e2e.examples_languages.application import tell

__all__ = ["tell"]
