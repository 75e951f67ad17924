"""Exports: the recipes by which a smaller model is made of one with dead channels, and their making."""
