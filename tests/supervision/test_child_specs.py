"""What a child may be declared as, what a supervisor may be told, and that the rest is refused before anything starts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import attrs
import pytest
from supervision.cast import Cast, counts, forever

from dspex import Backoff, ChildSpec, DynamicSupervisor, StartFailed, Supervisor

LEGAL_RESTARTS = ("permanent", "transient", "temporary")
LEGAL_SHUTDOWNS = (0, 0.5, 1000, math.inf, "brutal_kill")


def spec(id: Any = "a", start: Any = forever, **options: Any) -> ChildSpec:
    return ChildSpec(id, start, **options)


# --- a child --------------------------------------------------------------------------------------------------------------------


def test_a_minimal_child_is_permanent_has_five_seconds_to_stop_and_no_budget_of_its_own() -> None:
    told = spec()

    assert (told.restart, told.shutdown, told.significant) == ("permanent", 5.0, False)
    assert (told.backoff, told.max_restarts, told.max_seconds, told.on_limit) == (None, None, None, "escalate")
    assert (told.stop, told.on_change) == (None, None)


def test_a_nested_supervisor_has_no_time_limit_by_default() -> None:
    assert Supervisor.child_spec("sub", []).shutdown == math.inf
    assert DynamicSupervisor.child_spec("sub").shutdown == math.inf


def test_a_child_needs_an_id_and_a_start() -> None:
    with pytest.raises(TypeError, match="start"):
        ChildSpec("a")  # type: ignore[call-arg]

    with pytest.raises(TypeError, match="id"):
        ChildSpec(start=forever)  # type: ignore[call-arg]


def test_an_option_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="silly_flag"):
        spec(silly_flag=True)


@pytest.mark.parametrize("id", [None, 1, 1.0, True, b"a", ("a",), ""])
def test_an_id_is_a_text_that_is_not_empty(id: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(id)

    assert repr(id) in str(caught.value)


@pytest.mark.parametrize("start", [None, "forever", 7, ("module", "function", [])])
def test_a_start_that_cannot_be_called_is_refused_at_once(start: Any) -> None:
    with pytest.raises(TypeError) as caught:
        spec(start=start)

    assert repr(start) in str(caught.value)


def test_a_coroutine_is_no_start_and_the_error_says_to_give_the_function() -> None:
    coroutine = forever()
    with pytest.raises(TypeError, match="function"):
        spec(start=coroutine)

    coroutine.close()


async def test_a_start_that_returns_no_awaitable_can_only_be_found_at_the_start() -> None:
    with pytest.raises(StartFailed) as caught:
        async with Supervisor([spec(start=lambda: 7)]):
            pass

    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("restart", ["prmanent", "", None, True, "Permanent"])
def test_a_misspelt_restart_is_refused(restart: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(restart=restart)

    assert repr(restart) in str(caught.value)
    assert all(legal in str(caught.value) for legal in LEGAL_RESTARTS)


@pytest.mark.parametrize("shutdown", [-10, -0.001, math.nan, True, "5", "brutal", None, -math.inf])
def test_a_shutdown_that_is_no_time_is_refused(shutdown: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(shutdown=shutdown)

    assert repr(shutdown) in str(caught.value)


@pytest.mark.parametrize("significant", ["maybe", 1, None])
def test_significant_is_true_or_false(significant: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(restart="transient", significant=significant)

    assert repr(significant) in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"restart": "permanent"}], ids=["by default", "in words"])
def test_a_permanent_child_cannot_be_significant(options: Any) -> None:
    with pytest.raises(ValueError, match="permanent"):
        spec(significant=True, **options)


@pytest.mark.parametrize("backoff", [1.0, "exponential", object()])
def test_a_backoff_is_something_with_a_delay(backoff: Any) -> None:
    with pytest.raises(TypeError, match="delay"):
        spec(backoff=backoff)


@pytest.mark.parametrize(
    "options",
    [
        {"initial": -1},
        {"initial": math.nan},
        {"factor": 0.5},
        {"maximum": -1},
        {"initial": 2.0, "maximum": 1.0},
        {"jitter": -0.1},
        {"jitter": 1.5},
    ],
    ids=str,
)
def test_a_backoff_out_of_reason_is_refused(options: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Backoff(**options)


def test_a_backoff_grows_by_its_factor_from_the_first_strike_to_its_maximum() -> None:
    backoff = Backoff(initial=0.1, factor=2.0, maximum=1.0, jitter=0.0)

    assert [round(backoff.delay(strikes), 6) for strikes in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_backoff_of_many_strikes_stays_at_its_maximum() -> None:
    assert Backoff(jitter=0.0).delay(100_000) == 30.0


def test_a_backoffs_jitter_keeps_to_its_share() -> None:
    delays = [Backoff(initial=1.0, jitter=0.2).delay(1) for _ in range(200)]

    assert all(0.8 <= delay <= 1.2 for delay in delays)
    assert len(set(delays)) > 1


@pytest.mark.parametrize("field", ["stop", "on_change"])
def test_a_hook_that_cannot_be_called_is_refused(field: str) -> None:
    with pytest.raises(TypeError, match=field):
        spec(**{field: "later"})


@pytest.mark.parametrize("max_restarts", [-1, 1.5, True, math.inf, "3"])
def test_a_budget_of_a_childs_own_is_a_whole_number(max_restarts: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(max_restarts=max_restarts)

    assert repr(max_restarts) in str(caught.value)


@pytest.mark.parametrize("max_seconds", [0, -1, math.inf, math.nan, True, "5"])
def test_a_window_of_a_childs_own_is_a_positive_time(max_seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(max_restarts=1, max_seconds=max_seconds)

    assert repr(max_seconds) in str(caught.value)


@pytest.mark.parametrize("on_limit", ["stop", None, True])
def test_at_its_limit_a_child_escalates_or_parks_and_nothing_else(on_limit: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(on_limit=on_limit)

    assert repr(on_limit) in str(caught.value)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec().restart = "temporary"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("restart", "shutdown", "significant", "max_restarts", "on_limit"),
    [
        *itertools.product(LEGAL_RESTARTS[1:], LEGAL_SHUTDOWNS, (False, True), (None, 0, 3), ("escalate", "park")),
        *itertools.product(("permanent",), LEGAL_SHUTDOWNS, (False,), (None, 0, 3), ("escalate", "park")),
    ],
)
def test_every_combination_of_legal_values_is_accepted(
    restart: Any, shutdown: Any, significant: bool, max_restarts: int | None, on_limit: Any
) -> None:
    told = spec(restart=restart, shutdown=shutdown, significant=significant, max_restarts=max_restarts, on_limit=on_limit)

    assert (told.restart, told.shutdown, told.significant) == (restart, shutdown, significant)


async def test_every_legal_combination_starts_and_stops() -> None:
    combinations = itertools.product(LEGAL_RESTARTS, LEGAL_SHUTDOWNS)
    children = [spec(f"{restart}-{shutdown}", restart=restart, shutdown=shutdown) for restart, shutdown in combinations]
    async with Supervisor(children) as supervisor:
        assert counts(supervisor) == (15, 15, 0, 15)


# --- a supervisor ---------------------------------------------------------------------------------------------------------------


def test_a_supervisors_defaults_are_one_for_one_three_restarts_in_five_seconds() -> None:
    signature = repr(Supervisor())

    assert "0/3 in 5 s" in signature


@pytest.mark.parametrize("strategy", ["none_for_one", "simple_one_for_one", None, ""])
def test_a_strategy_nobody_knows_is_refused(strategy: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Supervisor(strategy=strategy)

    assert repr(strategy) in str(caught.value)
    assert all(legal in str(caught.value) for legal in ("one_for_one", "one_for_all", "rest_for_one"))


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("max_restarts", [-1, 1.5, True, math.inf, "3", None])
def test_an_intensity_is_a_whole_number_from_zero_up(kind: Any, max_restarts: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        kind(max_restarts=max_restarts)

    assert repr(max_restarts) in str(caught.value)


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("max_seconds", [0, 0.0, -5, math.inf, math.nan, True, "5", None])
def test_a_period_is_a_positive_finite_time(kind: Any, max_seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        kind(max_seconds=max_seconds)

    assert repr(max_seconds) in str(caught.value)


@pytest.mark.parametrize("auto_shutdown", ["sometimes", None, True, False])
def test_an_auto_shutdown_nobody_knows_is_refused(auto_shutdown: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Supervisor(auto_shutdown=auto_shutdown)

    assert repr(auto_shutdown) in str(caught.value)
    assert all(legal in str(caught.value) for legal in ("never", "any_significant", "all_significant"))


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
def test_a_flag_nobody_knows_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="silly_flag"):
        kind(silly_flag=True)


@pytest.mark.parametrize("flag", [{"strategy": "one_for_all"}, {"auto_shutdown": "any_significant"}], ids=str)
def test_a_dynamic_supervisor_has_neither_strategy_nor_auto_shutdown(flag: Any) -> None:
    with pytest.raises(TypeError):
        DynamicSupervisor(**flag)


@pytest.mark.parametrize("max_children", [-1, 1.5, True, "3"])
def test_a_bound_on_children_is_a_whole_number(max_children: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        DynamicSupervisor(max_children=max_children)

    assert repr(max_children) in str(caught.value)


def test_two_children_of_one_id_are_refused_and_nothing_is_started(cast: Cast) -> None:
    with pytest.raises(ValueError, match="'a'"):
        Supervisor([cast("a"), cast("b"), cast("a")])

    assert cast.events == []


@pytest.mark.parametrize("child", ["a", 7, None, ("a", forever), {"id": "a", "start": forever}], ids=str)
def test_what_is_no_child_spec_is_refused_and_the_error_says_what_is(child: Any) -> None:
    with pytest.raises(TypeError, match="ChildSpec"):
        Supervisor([child])


def test_a_context_class_itself_is_no_child_and_the_error_points_to_child_spec() -> None:
    with pytest.raises(TypeError, match="child_spec"):
        Supervisor([Supervisor])  # type: ignore[list-item]


@pytest.mark.parametrize("significant", ["transient", "temporary"])
def test_a_significant_child_is_refused_where_the_supervisor_never_shuts_down_by_itself(significant: Any) -> None:
    with pytest.raises(ValueError, match="auto_shutdown"):
        Supervisor([spec(restart=significant, significant=True)])


async def test_start_child_refuses_what_is_no_child_spec() -> None:
    async with Supervisor() as supervisor:
        with pytest.raises(TypeError, match="ChildSpec"):
            await supervisor.start_child(forever)  # type: ignore[arg-type]

        assert supervisor.which_children() == ()


async def test_the_effective_spec_can_be_read_back() -> None:
    children = [
        spec("a"),
        spec("b", restart="transient", significant=True),
        Supervisor.child_spec("sub", [], restart="temporary"),
    ]
    async with Supervisor(children, auto_shutdown="all_significant") as supervisor:
        told = [(info.id, info.restart, info.significant, info.kind) for info in supervisor.which_children()]

    assert told == [
        ("a", "permanent", False, "worker"),
        ("b", "transient", True, "worker"),
        ("sub", "temporary", False, "supervisor"),
    ]


async def test_one_spec_may_be_used_by_two_supervisors(cast: Cast) -> None:
    shared = spec("shared")
    async with Supervisor([shared]) as one, Supervisor([shared]) as other:
        assert counts(one) == counts(other) == (1, 1, 0, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"id": 1}, "id: expected a str, got 1. Other keys can be turned into one: 1, 1.0 and True would be the same id."),
        ({"id": ""}, "id: expected a str that isn't empty and has no '/', which divides paths, got ''"),
        ({"id": "a/b"}, "id: expected a str that isn't empty and has no '/', which divides paths, got 'a/b'"),
        ({"start": 7}, "start: expected an async function without arguments, or with task_status, got 7. Don't call it."),
        ({"restart": "prmanent"}, "restart: expected one of 'permanent', 'transient', 'temporary', got 'prmanent'"),
        ({"shutdown": -10}, "shutdown: expected a number of seconds of at least 0, math.inf or 'brutal_kill', got -10"),
        ({"significant": "maybe"}, "significant: expected a bool, got 'maybe'"),
        ({"significant": True}, "significant: a permanent child never ends for good. Make it transient or temporary."),
        ({"max_restarts": -1}, "max_restarts: expected an int of at least 0, got -1"),
        ({"max_seconds": 0}, "max_seconds: expected a positive, finite number of seconds, got 0"),
        ({"on_limit": "stop"}, "on_limit: expected one of 'escalate', 'park', got 'stop'"),
        ({"backoff": 1.0}, "backoff: expected a Backoff, or something with delay(strikes), or None, got 1.0"),
        ({"stop": "later"}, "stop: expected a callable or None, got 'later'"),
    ],
    ids=str,
)
def test_the_sentences_that_refuse_a_child(options: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        spec(**options)

    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strategy": "none_for_one"}, "strategy: expected one of 'one_for_one', 'one_for_all', 'rest_for_one', got 'none_for_one'"),
        ({"auto_shutdown": 1}, "auto_shutdown: expected one of 'never', 'any_significant', 'all_significant', got 1"),
        ({"max_restarts": 1.5}, "max_restarts: expected an int of at least 0, got 1.5"),
        ({"max_seconds": math.inf}, "max_seconds: expected a positive, finite number of seconds, got inf"),
        ({"name": "a/b"}, "name: expected a str that isn't empty and has no '/', which divides paths, got 'a/b'"),
        ({"children": ["a"]}, "children: expected ChildSpecs, got 'a'. Context, Bridge and the supervisors have child_spec()."),
        ({"children": [len]}, "children: expected ChildSpecs, got <built-in function len>. Make it one: ChildSpec(id, start)."),
        ({"children": 7}, "children: expected an iterable of ChildSpecs, got 7. One child is a list of one."),
        ({"children": [spec(), spec()]}, "children: two of them have the id 'a'. Give each its own."),
        (
            {"children": [spec(restart="transient", significant=True)]},
            "child 'a' is significant, which means nothing to a supervisor with auto_shutdown='never'",
        ),
    ],
    ids=str,
)
def test_the_sentences_that_refuse_a_supervisor(options: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Supervisor(**options)

    assert str(caught.value) == sentence


@pytest.mark.parametrize("name", [7, "", "a/b"])
def test_a_name_is_one_part_of_a_path(name: Any) -> None:
    for kind in (Supervisor, DynamicSupervisor):
        with pytest.raises((TypeError, ValueError)) as caught:
            kind(name=name)

        assert str(caught.value).startswith("name: expected a str")


def test_the_spec_of_a_branch_is_checked_when_it_is_made_and_not_when_it_starts() -> None:
    with pytest.raises(ValueError, match="strategy"):
        Supervisor.child_spec("sub", [], strategy="none_for_one")  # type: ignore[typeddict-item]

    with pytest.raises(ValueError, match="two of them"):
        Supervisor.child_spec("sub", [spec(), spec()])

    with pytest.raises(ValueError, match="max_children"):
        DynamicSupervisor.child_spec("sub", max_children=-1)
