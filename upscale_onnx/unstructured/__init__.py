"""Pruning of single weights, and counts of zeros."""
