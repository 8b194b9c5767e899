"""``popframe bulletin``: what an operator does with bulletins."""
