"""``popframe locks``: whether the locks of a spool can be had, and whether they fit those of the local agents."""
