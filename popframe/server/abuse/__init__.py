"""Who has tried wrong passwords, and who comes too often: counted once for all processes of a server.

Rule of this folder: what is kept is bounded, forgets by itself, and holds no password. When there is no room, what
weighs least is forgotten; when the memory itself fails, nothing is counted. So nobody is ever refused by mistake of it.
"""
