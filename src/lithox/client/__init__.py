"""THE OTHER END: `lithox.Client`, the same methods as an embedded node, over HTTP."""

from lithox.client.client import Client

__all__ = ["Client"]
