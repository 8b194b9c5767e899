"""One client, one process: the session on descriptor 0 that inetd, xinetd or systemd has accepted.

Rules of this folder: nothing but the engine's replies reaches the client, whatever its connection is besides descriptor
0; and whatever runs as root here reads no octet of it.
"""
