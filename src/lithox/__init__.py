"""lithox runs code its operator did not write, next to state nobody may lose."""
