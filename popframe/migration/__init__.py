"""From the configuration of another server to one of this.

Rule of this folder: nothing is left out in silence, and nothing is guessed: what has no equal is told, what cannot be
understood is a mistake with file and line.
"""
