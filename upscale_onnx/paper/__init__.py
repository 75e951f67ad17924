"""The experiment of the UPSCALE paper: how much accuracy unconstrained masks gain, and how much time they cost."""
