"""Reading files of unknown origin within bounds, and writing our own files whole or not at all."""
