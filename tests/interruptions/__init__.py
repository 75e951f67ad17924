"""Compiles that are killed, terminated, and robbed of their disk: what they leave.

`python -m tests.interruptions --moments 100` measures what docs/reliability.md says.
"""
