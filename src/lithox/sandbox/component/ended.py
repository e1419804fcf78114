"""How do the answers of this room say that a guest's time is over?"""

from __future__ import annotations


class Ended(Exception):
    """The guest is to be ended.

    Attributes:
        code: as of `contract.Step`.
        detail: what it did.
    """

    def __init__(self, code: str, detail: str) -> None:
        """Keeps both."""
        super().__init__(detail)
        self.code, self.detail = code, detail
