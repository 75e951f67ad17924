"""The figures of "Out-of-the-box Channel Pruned Networks" (Venkatesan et al., 2020), measured on given networks."""
