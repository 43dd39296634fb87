"""
Errors across the wire: ``[code, facts, sentence, applied]``.

The code is the name of a class of `dspex._exceptions`, and only of those: nothing is imported or called by a name that came. The
facts are plain data; what isn't is told as text.
"""

from __future__ import annotations

from ._refusals import Unencodable
from .codec import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Optional

    from .._exceptions import DspexError

_NESTED = "errors"  # the fact of a BatchError that holds errors in its turn
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "Iterable": (list,),  # of texts, all that are
    "Mapping": (dict,),
    "dict": (dict,),
}
_TOLD = 200  # characters of a fact that isn't plain


def error_to_wire(error: BaseException) -> list[Any]:
    """*error* as data. One that isn't dspex's own crosses as a `DspexError` that tells its type, of unknown effect."""
    cls = type(error)
    code = _code(cls)
    if code is None:
        return ["DspexError", {"type": f"{cls.__module__}.{cls.__qualname__}"}, f"{cls.__qualname__}: {error}", None]

    return _known_to_wire(code, error)


def _known_to_wire(code: str, error: Any) -> list[Any]:
    facts = {str(name): _plain(fact) for name, fact in error.facts.items()}
    if code == "BatchError":
        facts[_NESTED] = {str(name): error_to_wire(each) for name, each in error.errors.items()}

    return [code, facts, error.sentence, error.applied]


def error_from_wire(data: list[Any], *, home: Optional[ModuleType] = None) -> DspexError:
    """
    The error that *data* tells of, as `error_to_wire` gave it.

    Args:
        data: ``[code, facts, sentence, applied]``; parts that aren't what they should be count as missing.
        home: the module whose classes to use, where it isn't this package's own `_exceptions`.

    """
    code, facts, sentence, applied = ([*data, None, None, None, None] if type(data) is list else [None] * 4)[:4]
    classes = _classes(home)
    cls = classes.get(code if isinstance(code, str) else "", classes["DspexError"])
    error: DspexError = cls.__new__(cls)
    error.sentence = _fitting("str", sentence)
    Exception.__init__(error, error.sentence)
    error.applied = applied if isinstance(applied, bool) else None
    error.facts = {name: fact for name, fact in _fitting("dict", facts).items() if _is_fact(name, cls)}
    for name, kind in _expected_facts(cls):
        error.facts[name] = _fitting(kind, error.facts.get(name))

    if code == "BatchError":
        error.facts[_NESTED] = {str(name): error_from_wire(each, home=home) for name, each in error.facts[_NESTED].items()}

    for name, fact in error.facts.items():
        setattr(error, name, fact)

    return error


def _code(cls: type) -> Optional[str]:
    """The name of the first public class among *cls* and its bases. By name: a worker may have two copies of the tree, its own and the program's."""
    known = _classes(None)
    names = [base.__name__ for base in cls.__mro__]
    return next((name for name in names if name in known), None) if "DspexError" in names else None


def _classes(home: Optional[ModuleType]) -> dict[str, Any]:
    from .. import _exceptions

    module = home or _exceptions
    root = module.DspexError
    return {name: cls for name, cls in vars(module).items() if isinstance(cls, type) and issubclass(cls, root)}


def _is_fact(name: Any, cls: type) -> bool:
    """Whether *name* may become an attribute: a plain name that hides nothing the class has."""
    return (
        type(name) is str
        and name.isidentifier()
        and not name.startswith("_")
        and not hasattr(cls, name)
        and name not in ("sentence", "facts")
    )


def _expected_facts(cls: Any) -> list[tuple[str, str]]:
    """What ``__init__`` of *cls* takes, with the annotation: the attributes that readers of the error count on, whatever came."""
    taken: dict[str, str] = cls.__init__.__annotations__
    return [(name, kind) for name, kind in taken.items() if name != "return" and _is_fact(name, cls)]


def _fitting(kind: str, fact: Any) -> Any:
    """*fact* if it is of the annotated *kind*, an empty one if not."""
    expected = _KINDS.get(kind.partition("[")[0])
    if expected is None:
        return fact

    given: Any = fact if isinstance(fact, expected) else expected[0]()
    return _texts(given) if expected[0] is list else given


def _texts(given: list[object]) -> list[str]:
    return [text for text in given if isinstance(text, str)]


def _plain(fact: Any) -> Any:
    try:
        encode(fact)
    except Unencodable:
        return repr(fact)[:_TOLD]

    return fact
