"""A seeded mutation fuzzer: `python -m tests.fuzz --help`."""
