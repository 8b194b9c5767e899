"""Exchanges of AUTH and APOP, in the process that may know secrets; the mechanisms are those of :mod:`popframe.sasl`.

Rule of this folder: a mechanism that fails, or a plugin that it asks, is a temporary failure; no secret is in any log.
"""
