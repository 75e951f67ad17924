"""Repair without labels: the weights of a pruned model are re-fitted on unlabelled inputs."""
