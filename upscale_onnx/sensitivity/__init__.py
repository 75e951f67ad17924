"""Sensitivity of a model to pruning: its loss when channels of one layer alone are pruned."""
