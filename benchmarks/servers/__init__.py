"""popframe beside the POP3 servers in C: CPU time, wall time and memory for the same work, as ratios, in one run."""
