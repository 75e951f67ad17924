"""Repair without labels: weights of a pruned model re-fitted on unlabelled inputs."""
