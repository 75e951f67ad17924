"""Models run in PyTorch, for criteria and repairs that need gradients. Torch is imported here alone, and in compat."""
