"""Channel analysis: where each channel is, which channels are constant, and which are demanded."""
