"""One process for each user: the way from a front, which is nobody, through the gate to a process that is the user.

Rules of this folder: the gate reads no octet of a client, only a name and a password that a front has taken out of
POP3; a process that has become a user never was, and never can be, anybody else's; and whoever waits for another
process notices that it has died.
"""
