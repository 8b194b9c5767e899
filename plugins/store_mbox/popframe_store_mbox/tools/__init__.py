"""The command-line tools: ``popframe mbox`` and ``popframe locks``.

Rule of this folder: nothing here changes mail, and what a tool says is taken from the same code that the server runs.
"""
