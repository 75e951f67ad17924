"""The contest of exports: which is made and timed, which wins, and what of it is written in the end."""
