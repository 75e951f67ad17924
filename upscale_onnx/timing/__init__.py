"""The target of a compile, and the times of operators that are measured on it."""
