"""Runs models in PyTorch, for criteria and repairs that need gradients. Only this package and `compat` import torch."""
