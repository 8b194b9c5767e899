"""What is written of a session command by command: its trace, and the replies that refuse something.

Rules of this folder: no password, and nothing that might be one; a session that nobody wants to know of is not looked
at, and runs without a line of this code; and no trace that cannot be written keeps a client waiting.
"""
