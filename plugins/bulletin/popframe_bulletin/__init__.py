"""Bulletins: what the operator has to say, delivered to each user once, in order."""

from popframe_bulletin.plugin import Bulletin
from popframe_bulletin.settings import Settings

__all__ = ["Bulletin", "Settings"]
