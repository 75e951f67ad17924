"""Masks chosen with the target in mind: whole blocks of channels, where a millisecond costs least importance."""
