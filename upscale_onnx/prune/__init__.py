"""From options to a model that is pruned: masks of every kind, with the data and measurements that they need."""
