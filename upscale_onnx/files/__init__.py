"""Files that others made, read within bounds, and our own, written whole or not at all."""
