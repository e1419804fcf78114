"""RESP IN AND OUT: the protocol of Redis on the port of HTTP."""
