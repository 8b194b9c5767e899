"""Who may log in: the rules of the table ``[login]``, asked after the password or proof was found right."""

from popframe.authorization.rules import LoginRules, Rule

__all__ = ["LoginRules", "Rule"]
