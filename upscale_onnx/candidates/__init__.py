"""Candidates: the networks that profiles make of one model."""
