"""Everything that touches the outside: sockets, processes, privileges, timers, limits, and the log."""
