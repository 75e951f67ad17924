"""Pruning a model as options ask: masks of every kind, with the data and measurements that they need."""
