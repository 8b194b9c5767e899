"""What a session says in words: the texts of every language, and which of them a client has asked for (RFC 6856).

Rule of this folder: a text of the engine stands in ``english.py`` and in every other language's module, and nowhere
else.
"""

from popframe.engine.speech.catalogue import CATALOGUE, language_tags
from popframe.engine.speech.english import English
from popframe.engine.speech.negotiation import Negotiated, Speech

__all__ = ["CATALOGUE", "English", "Negotiated", "Speech", "language_tags"]
