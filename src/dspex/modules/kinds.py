"""The kinds of DSPy programs: `Predict`, `ChainOfThought`, `ReAct`, and `Module` for everything of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from dspex._exceptions import InvalidProgram
from dspex.programs import definition
from dspex.programs.secrets import refuse_keyed_models

from .declaration import Binding, DSPyProgram, State, definitions_of, shown_signature, signature_of
from .lm import LM


class Predict(DSPyProgram):
    """
    One question to the language model, from *signature*'s inputs to its outputs: `dspy.Predict`.

    Args:
        signature: ``"question -> answer"``, ``"text: str, limit: int -> summary: str, topics: list[str]"``, a class derived from
            `dspy.Signature`, or the import path of one, ``"app.signatures:Summarize"``.
        instructions: what the model is told to do, for a signature written as text.
        lm: a model's name or an `LM`. None: the one that the worker's own code has configured.
        bind: settings of the language model that are read from variables at each call, in one step: ``{"temperature": TEMPERATURE}``.
        state: what ``module.save("x.json")`` of a compiled program wrote: its parsed JSON, its text, or its path in the worker.

    """

    kind: ClassVar[str] = "Predict"

    def __init__(
        self,
        signature: Any,
        /,
        *,
        instructions: str | None = None,
        lm: LM | str | None = None,
        bind: Binding | None = None,
        state: State | None = None,
    ) -> None:
        super().__init__(lm=lm, bind=bind, state=state)
        self.signature = signature
        self.instructions = instructions
        self._signature = _signature(self.kind, signature, instructions)

    def _declare(self, program_id: str) -> dict[str, Any]:
        return {"signature": self._signature}

    def _shown(self) -> list[str]:
        return [shown_signature(self.signature)]


class ChainOfThought(Predict):
    """Like `Predict`, but the model reasons first: `dspy.ChainOfThought`. The prediction has a field ``reasoning`` more."""

    kind: ClassVar[str] = "ChainOfThought"


class ReAct(Predict):
    """
    A loop of thinking and calling tools, until the model says it is done: `dspy.ReAct`. The prediction has its `trajectory`.

    The arguments are those of `Predict`, and:

    Args:
        tools: what the model may call, in the worker: functions, `dspy.Tool` objects, or import paths of either. A function that can be
            imported travels by name, another one by value. The model sees its name, its docstring and its parameters' types.
        max_iters: how many rounds at most.

    """

    kind: ClassVar[str] = "ReAct"

    def __init__(
        self,
        signature: Any,
        /,
        *,
        tools: Sequence[Callable[..., Any] | str] = (),
        max_iters: int = 20,
        instructions: str | None = None,
        lm: LM | str | None = None,
        bind: Binding | None = None,
        state: State | None = None,
    ) -> None:
        super().__init__(signature, instructions=instructions, lm=lm, bind=bind, state=state)
        if max_iters < 1:
            raise InvalidProgram(self.kind, problem=f"max_iters: expected at least 1, got {max_iters}")

        self.tools: tuple[Callable[..., Any] | str, ...] = tuple(tools)
        self.max_iters = max_iters
        self._tools = definitions_of(self.kind, self.tools)

    def _declare(self, program_id: str) -> dict[str, Any]:
        return {**super()._declare(program_id), "tools": self._tools, "max_iters": self.max_iters}

    def _shown(self) -> list[str]:
        return [*super()._shown(), f"tools={[_name(tool) for tool in self.tools]}"]


class Module(DSPyProgram):
    """
    A `dspy.Module` of one's own.

    Args:
        module: the import path of a module object, of a class or function that makes one without arguments, or the object or class
            itself, which travels by name where it can be imported, and by value otherwise.
        lm: as for `Predict`; when given it takes the place of those the module's parts have.
        bind: as for `Predict`.
        state: as for `Predict`.

    """

    kind: ClassVar[str] = "Module"

    def __init__(self, module: Any, /, *, lm: LM | str | None = None, bind: Binding | None = None, state: State | None = None) -> None:
        super().__init__(lm=lm, bind=bind, state=state)
        if not isinstance(module, str) and not callable(module):
            hint = "Give a dspy.Module, or the import path of one."
            raise InvalidProgram(self.kind, problem=f"got {type(module).__name__}, which can't be called", hint=hint)

        self.module = module

    def _declare(self, program_id: str) -> dict[str, Any]:
        if isinstance(self.module, str):
            return {"program": dict(definition.by_path(program_id, self.module))}

        refuse_keyed_models(program_id, self.module)
        return {"program": dict(definition.of(program_id, self.module))}

    def _shown(self) -> list[str]:
        return [repr(self.module) if isinstance(self.module, str) else _name(self.module)]


def _signature(owner: str, signature: Any, instructions: str | None) -> dict[str, Any]:
    if isinstance(signature, str) and "->" not in signature and ":" in signature:
        return {"code": dict(definition.by_path(owner, signature)), "instructions": None}

    return signature_of(owner, signature, instructions)


def _name(program: Any) -> str:
    return program if isinstance(program, str) else getattr(program, "__qualname__", None) or type(program).__qualname__
