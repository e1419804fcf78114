"""Stands in for setuptools while pip fetches a source distribution; see guests/sources.py."""
