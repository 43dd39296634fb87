"""What TAB offers."""

from __future__ import annotations

from rlcompleter import Completer
from typing import Any


class ListedCompleter(Completer):
    """Completes attributes to what `dir` tells. The standard library's adds all that the class has, and so what `__dir__` leaves out."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        super().__init__(namespace)
        self._namespace = namespace

    def attr_matches(self, text: str) -> list[str]:
        """The completions of *text*, an expression with a dot."""
        found: list[str] = super().attr_matches(text)
        if not found:
            return found

        # It is a name with attributes, and has just been looked up, or there would be no matches.
        name, *path = text.split(".")[:-1]
        owner = self._namespace[name] if name in self._namespace else self._namespace["__builtins__"].__dict__[name]
        for attribute in path:
            owner = getattr(owner, attribute)

        listed = set(dir(owner))
        return [match for match in found if match.rpartition(".")[2].rstrip("()") in listed]
