"""Handlers that are WebAssembly components, written against the world in `wit/`."""
