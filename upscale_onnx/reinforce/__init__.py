"""Reinforcement learning of profiles: a policy that decides, layer by layer, what share of its channels each one keeps.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 4.
"""
