"""Python handlers: runs in worker processes of the `pydantic-monty` package."""
