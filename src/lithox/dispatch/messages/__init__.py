"""Messages between entities: kept with the commit that sent them, delivered until they took effect.

See README.md in this folder.
"""
