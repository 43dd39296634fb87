"""What the conformance kits are made of: rules with names, the error that names a broken one, and the cutting of a coroutine at an await."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from anyio import CancelScope, fail_after

from dspex._exceptions import DspexError
from dspex.state._pages import reading

T = TypeVar("T")

PATIENCE = 10.0


class ConformanceError(AssertionError):
    """
    A contract isn't fulfilled.

    Attributes:
        subject: what was checked.
        rule: the rule it breaks, in words.
        happened: what it did instead.

    """

    def __init__(self, subject: str, *, rule: str, happened: str) -> None:
        super().__init__(f"{subject} breaks the rule: {rule}. What happened: {happened}")
        self.subject = subject
        self.rule = rule
        self.happened = happened

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.subject, self.rule, self.happened)


def _again(subject: str, rule: str, happened: str) -> ConformanceError:
    return ConformanceError(subject, rule=rule, happened=happened)


class Unmet(AssertionError):
    """What a rule expects isn't so: internal, told as `ConformanceError`."""


class Rule(NamedTuple, Generic[T]):
    """One rule of a contract: its words, and the check that raises where it is broken."""

    words: str
    check: Callable[[T], Awaitable[None]]


class Rules(Generic[T]):
    """The rules of one contract, in the order they are checked."""

    def __init__(self) -> None:
        self._rules: list[Rule[T]] = []

    def __call__(self, words: str) -> Callable[[Callable[[T], Awaitable[None]]], Callable[[T], Awaitable[None]]]:
        """Makes the decorated check a rule."""

        def add(check: Callable[[T], Awaitable[None]]) -> Callable[[T], Awaitable[None]]:
            self._rules.append(Rule(words, check))
            return check

        return add

    async def hold(self, name: str, case: T) -> None:
        """Raises `ConformanceError` for the first rule that *case*, called *name*, breaks."""
        for rule in self._rules:
            try:
                with fail_after(PATIENCE):
                    await rule.check(case)
            except Unmet as unmet:
                raise ConformanceError(name, rule=rule.words, happened=str(unmet)) from None
            except TimeoutError as error:
                raise ConformanceError(name, rule=rule.words, happened=f"it did not end within {PATIENCE:g} s") from error
            except Exception as error:
                # Whatever a foreign class raises where its contract has an answer is the finding.
                raise ConformanceError(name, rule=rule.words, happened=f"it raised {error!r}") from error


def expect(condition: bool, happened: str) -> None:
    """Says what *happened* unless *condition* holds."""
    if not condition:
        raise Unmet(happened)


def expect_equal(got: Any, wanted: Any, what: str) -> None:
    """*got* must equal *wanted*, and be of its type."""
    expect(type(got) is type(wanted) and got == wanted, f"{what} was {got!r}, expected {wanted!r}")


async def settled(result: Any) -> Any:
    """*result*, awaited if it has to be."""
    return await result if inspect.isawaitable(result) else result


async def refused(result: Callable[[], Any], *errors: type[DspexError], what: str) -> None:
    """The call must raise one of *errors*."""
    names = " or ".join(error.__name__ for error in errors)
    try:
        answer = await settled(result())
    except errors:
        return
    except DspexError as error:
        raise Unmet(f"{what} raised {type(error).__name__}, expected {names}") from error

    raise Unmet(f"{what} answered {answer!r}, expected {names}")


async def each(pages: Iterator[T] | AsyncIterator[T]) -> AsyncIterator[T]:
    """The items of either kind of iterator."""
    if isinstance(pages, AsyncIterator):
        async with reading(pages) as found:
            async for page in found:
                yield page
    else:
        for page in pages:
            yield page


class Cut:
    """Awaits *coroutine* and cancels *scope* at its suspension number *at*, just before it is passed on. Counts them all; 0 cuts nothing."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], scope: CancelScope, at: int = 0) -> None:
        self.suspensions = 0
        self._coroutine = coroutine
        self._scope = scope
        self._at = at

    def __await__(self) -> Generator[Any, Any, Any]:
        resume: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                signal = resume()
            except StopIteration as end:
                return end.value

            self.suspensions += 1
            if self.suspensions == self._at:
                self._scope.cancel()

            try:
                answer = yield signal
            except BaseException as error:  # noqa: BLE001 - passed on into the coroutine, which is where it belongs
                resume = _throwing(self._coroutine, error)
            else:
                resume = _sending(self._coroutine, answer)


def _sending(coroutine: Coroutine[Any, Any, Any], answer: Any) -> Callable[[], Any]:
    return lambda: coroutine.send(answer)


def _throwing(coroutine: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(error)


class CutOutcome(NamedTuple):
    """How a cut operation ended: with an answer or without, after how many suspensions."""

    finished: bool
    answer: Any
    suspensions: int


async def cut(operation: Callable[[], Coroutine[Any, Any, Any]], at: int) -> CutOutcome:
    """Run *operation*, cancelled at its suspension number *at*."""
    scope = CancelScope()
    attempt = Cut(operation(), scope, at)
    with scope:
        answer = await attempt
        return CutOutcome(finished=True, answer=answer, suspensions=attempt.suspensions)

    return CutOutcome(finished=False, answer=None, suspensions=attempt.suspensions)


async def every_cut(attempt: Callable[[int], Awaitable[CutOutcome]]) -> None:
    """Make *attempt* with a cut at each suspension there is, up to the first number that is past the last one."""
    at = 1
    while (await attempt(at)).suspensions >= at:
        at += 1
