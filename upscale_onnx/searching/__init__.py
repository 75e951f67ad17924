"""Search for profiles: the shares of channels that cost least accuracy for a size, a latency, or several such goals."""
