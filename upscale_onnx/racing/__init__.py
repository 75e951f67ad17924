"""The contest of exports: which exports are made and timed, which one wins, and what is written in the end."""
