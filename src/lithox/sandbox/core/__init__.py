"""Core WebAssembly modules of anybody as handlers, and what all untrusted WebAssembly needs."""
