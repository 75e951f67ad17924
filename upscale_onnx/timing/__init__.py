"""The target of a compile, and measured times of operators on it."""
