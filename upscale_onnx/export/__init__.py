"""Smaller models of one whose dead channels are known: the ways to make them, and the making."""
