"""WHAT THINGS ARE: frozen records and checks, no behaviour."""
