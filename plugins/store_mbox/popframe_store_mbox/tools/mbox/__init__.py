"""``popframe mbox``: what the server makes of an mbox file, and what is odd about it."""
