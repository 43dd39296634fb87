"""
Makes a DSPy program from its declaration and calls it: what `dspex.modules` becomes in a worker.

One instance a declaration, called from several threads at once. Everything of a call (its language model, its usage) is in a
`dspy.context`, never in `dspy.configure`, which belongs to the first thread that uses it. No history is kept: a worker lives long.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import threading
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Tuple

from ...._exceptions import InvalidProgram, MissingExtra
from ..failures import Refused
from ..loading import LOADERS
from .dspy_lm import LanguageModel
from .dspy_plain import plain

Declaration = Mapping[str, Any]

# trace would grow for ever too: every predictor appends what it did to one list of the process.
QUIET: Dict[str, Optional[bool]] = {"disable_history": True, "track_usage": True, "trace": None}


def build(declaration: Declaration) -> Callable[..., Dict[str, Any]]:
    """The callable for *declaration*; its signature is that of the DSPy program, with ``ctx`` when variables are bound."""
    dspy = _dspy(declaration["kind"])
    program = DspyProgram(dspy, declaration)

    def call(**inputs: Any) -> Dict[str, Any]:
        return program(inputs)

    call.__name__ = call.__qualname__ = declaration["kind"]
    call.__doc__ = program.doc()
    call.__signature__ = program.signature()  # type: ignore[attr-defined]
    return call


def _dspy(kind: str) -> Any:
    try:
        import dspy
    except ModuleNotFoundError as error:
        if error.name != "dspy":
            raise

        needed_for = f"The program {kind}"
        install = f"{sys.executable} -m pip install dspy"
        raise Refused(
            MissingExtra("dspy", needed_for=needed_for, install=install, where=f"the worker's interpreter {sys.executable}")
        ) from None

    return dspy


_PLAIN_KIND: Dict[Any, Any] = {inspect.Parameter.KEYWORD_ONLY: inspect.Parameter.POSITIONAL_OR_KEYWORD}
"""All inputs are given by name; the text of a signature is nicer without the star that says so."""


class DspyProgram:
    """One module, its language model, and which variables it is called with."""

    def __init__(self, dspy: Any, declaration: Declaration) -> None:
        self._dspy = dspy
        self._bind: Dict[str, str] = declaration.get("bind") or {}
        self._names: List[str] = list(self._bind.values())
        self._hidden: FrozenSet[str] = frozenset(declaration.get("hidden") or ())
        self._lock = threading.Lock()
        self.module: Any = MAKERS[declaration["kind"]](dspy, declaration)
        _load_state(declaration["kind"], self.module, declaration.get("state"))
        self._lm = self._language_model(declaration.get("lm"))

    def _language_model(self, declared: Optional[Declaration]) -> Optional[LanguageModel]:
        if declared is None:
            return None

        # A predictor's own model goes before the one of the context, and the declared one is meant.
        self.module.set_lm(None)
        return LanguageModel(self._dspy, declared)

    def signature(self) -> inspect.Signature:
        """What it takes, by name."""
        parameters = _parameters(self.module)
        if self._bind:
            parameters.insert(0, inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY))

        returned = _returned(self.module)
        try:
            plain_parameters = [parameter.replace(kind=_PLAIN_KIND.get(parameter.kind, parameter.kind)) for parameter in parameters]
            return inspect.Signature(plain_parameters, return_annotation=returned)
        except ValueError:  # an optional one goes before a required one: only keywords may
            return inspect.Signature(parameters, return_annotation=returned)

    def doc(self) -> Optional[str]:
        """Its instructions, or the docstring of its class."""
        return getattr(_signature_of(self.module), "instructions", None) or inspect.getdoc(_class(self.module))

    def __call__(self, inputs: Dict[str, Any]) -> Dict[str, Any]:
        """Run the module and give its prediction as plain data."""
        ctx = inputs.pop("ctx", None)
        lm, settings = self._at_this_call(ctx)
        with self._dspy.context(**QUIET, **({} if lm is None else {"lm": lm})), self._dspy.track_usage() as tracker:
            self._need_language_model()
            result = self.module(**inputs)

        usage = {model: _counted(counts) for model, counts in tracker.get_total_tokens().items()}
        shown = {name: value for name, value in settings.items() if name not in self._hidden}
        return self._answer(result, usage=usage, settings=shown)

    def _at_this_call(self, ctx: Any) -> Tuple[Any, Dict[str, Any]]:
        if self._lm is None:
            return None, {}

        bound = self._read(ctx) if self._bind else {}
        return self._lm.with_settings(bound)

    def _read(self, ctx: Any) -> Dict[str, Any]:
        """The bound settings, all read at one moment."""
        values = ctx.get_many(self._names)
        return {setting: values[name] if name in values else ctx.get(name) for setting, name in self._bind.items()}

    def _need_language_model(self) -> None:
        predictors = [predictor for _, predictor in self.module.named_predictors()]
        if predictors and self._dspy.settings.lm is None and any(predictor.lm is None for predictor in predictors):
            raise Refused(
                InvalidProgram(
                    type(self.module).__name__,
                    problem="it was declared without a language model, and the worker's own code has configured none",
                    hint="Declare it with lm='openai/gpt-4o-mini' or lm=LM(...).",
                )
            )

    def _answer(self, result: Any, *, usage: Dict[str, Any], settings: Dict[str, Any]) -> Dict[str, Any]:
        if not isinstance(result, self._dspy.Prediction):
            return {"value": plain(result)}

        fields = {name: plain(value) for name, value in result.items()}
        trajectory = fields.pop("trajectory", None) if isinstance(self.module, self._dspy.ReAct) else None
        return {"fields": fields, "usage": usage, "settings": settings, "trajectory": trajectory}


# --- making the module -----------------------------------------------------------------------------------------------------------


def _predict(dspy: Any, declaration: Declaration) -> Any:
    return dspy.Predict(_signature(dspy, declaration))


def _chain_of_thought(dspy: Any, declaration: Declaration) -> Any:
    return dspy.ChainOfThought(_signature(dspy, declaration))


def _react(dspy: Any, declaration: Declaration) -> Any:
    tools = [found("ReAct", tool) for tool in declaration["tools"]]
    return dspy.ReAct(_signature(dspy, declaration), tools=tools, max_iters=declaration["max_iters"])


def _module(dspy: Any, declaration: Declaration) -> Any:
    made = found("Module", declaration["program"])
    if isinstance(made, dspy.Module):
        return made.deepcopy()  # a module of the user's own code, which may use it beside us

    made = made() if callable(made) else made
    if not isinstance(made, dspy.Module):
        named = declaration["program"].get("path", "what was given")
        problem = f"{named} is or makes {type(made).__name__}, expected a dspy.Module"
        raise Refused(InvalidProgram("Module", problem=problem, hint="For any other callable use register_program."))

    return made


MAKERS: Dict[str, Callable[[Any, Declaration], Any]] = {
    "Predict": _predict,
    "ChainOfThought": _chain_of_thought,
    "ReAct": _react,
    "Module": _module,
}


def found(owner: str, definition: Dict[str, Any]) -> Any:
    """The object that *definition* describes, as it is: nothing is constructed."""
    way = next(way for way in ("path", "pickle") if way in definition)
    return LOADERS[way](owner, definition)


def _signature(dspy: Any, declaration: Declaration) -> Any:
    told = declaration["signature"]
    if "code" in told:
        return found(declaration["kind"], told["code"])

    return dspy.Signature(told["text"], told["instructions"]) if told["instructions"] else dspy.Signature(told["text"])


def _load_state(owner: str, module: Any, state: Any) -> None:
    if state is None:
        return

    try:
        if isinstance(state, str):
            state = json.loads(state) if state.lstrip().startswith("{") else _read(state)

        # Never with allow_unsafe_lm_state: a saved state may name a class to import and an address to send the key to.
        module.load_state({name: part for name, part in state.items() if name != "metadata"})
    except Exception as error:  # what the file system, the JSON and each kind of module make of a state that isn't theirs
        problem = f"its state can't be loaded ({type(error).__name__}: {error})"
        hint = "Give what module.save('name.json') of the same program wrote; a path is one on the worker's side."
        raise Refused(InvalidProgram(owner, problem=problem, hint=hint)) from error


def _read(path: str) -> Any:
    with open(os.path.expanduser(path), encoding="utf-8") as file:
        return json.load(file)


# --- what it takes and gives -----------------------------------------------------------------------------------------------------


def _signature_of(module: Any) -> Any:
    """The signature of a module that has one itself, or whose only predictor has one while it takes whatever that takes; or None."""
    predict = getattr(module, "predict", None) if _is_open(module) else None
    candidates = (getattr(module, "signature", None), getattr(predict, "signature", None))
    return next((candidate for candidate in candidates if hasattr(candidate, "input_fields")), None)


def _class(module: Any) -> Any:
    return module.__class__


def _is_open(module: Any) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(_class(module).forward).parameters.values())


def _parameters(module: Any) -> List[inspect.Parameter]:
    signature = _signature_of(module)
    if signature is not None:
        return [_parameter(name, field) for name, field in signature.input_fields.items()]

    forward = inspect.signature(_class(module).forward)
    return [
        parameter.replace(kind=parameter.KEYWORD_ONLY) if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else parameter
        for parameter in list(forward.parameters.values())[1:]
        if parameter.kind is not parameter.VAR_POSITIONAL
    ]


def _parameter(name: str, field: Any) -> inspect.Parameter:
    required = field.is_required() and not _allows_none(field.annotation)
    default = inspect.Parameter.empty if required else None if field.is_required() else field.default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.annotation)


def _allows_none(annotation: Any) -> bool:
    return type(None) in getattr(annotation, "__args__", ())


def _counted(usage: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: plain(value) for name, value in usage.items() if value is not None}


class _Fields:
    """An annotation that reads as the names of fields."""

    def __init__(self, names: List[str]) -> None:
        self._text = ", ".join(names)

    def __repr__(self) -> str:
        return f"Prediction({self._text})"


def _returned(module: Any) -> Any:
    signature = _signature_of(module)
    return inspect.Signature.empty if signature is None else _Fields(list(signature.output_fields))
