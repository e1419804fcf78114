"""Built guests, one WebAssembly module per language; `guests/build.py` puts them here.

They are not in the repository: the wheel ships them, a checkout builds them.
"""
