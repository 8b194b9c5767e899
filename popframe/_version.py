"""The version of popframe, written once; the distribution's metadata reads it from here."""

__version__ = "0.1.0"
