"""Targets begin when their manager does, and it is ready when they all are."""

from __future__ import annotations

from proxy.base.init import InitManager, InitTarget


def test_ready_when_the_last_target_is() -> None:
    manager, told = InitManager("server"), []
    targets = [InitTarget(name, lambda name=name: told.append(name)) for name in "ab"]  # type: ignore[misc]
    for target in targets:
        manager.add(target)
    assert told == []
    manager.initialize(lambda: told.append("ready"))
    assert told == ["a", "b"]
    targets[1].ready()
    targets[1].ready()
    assert [each.name for each in manager.waiting] == ["a"]
    targets[0].ready()
    assert told == ["a", "b", "ready"] and manager.is_ready


def test_nothing_to_wait_for() -> None:
    told = []
    InitManager("x").initialize(lambda: told.append("ready"))
    assert told == ["ready"]


def test_a_target_that_is_ready_at_once_and_one_that_comes_late() -> None:
    manager, told = InitManager("x"), []
    first = InitTarget("first", lambda: first.ready())
    manager.add(first)
    late = InitTarget("late", lambda: told.append("late"))
    holding = InitTarget("holding", lambda: manager.add(late))
    manager.add(holding)
    manager.initialize(lambda: told.append("ready"))
    holding.ready()
    assert told == ["late"]
    late.ready()
    assert told == ["late", "ready"]


def test_who_cancels_is_not_told() -> None:
    manager, told = InitManager("x"), []
    target = InitTarget("t", lambda: None)
    manager.add(target)
    manager.initialize(lambda: told.append("ready"))
    manager.cancel()
    target.ready()
    assert told == []


def test_a_target_of_several_managers() -> None:
    told: list[str] = []
    target = InitTarget("shared", lambda: told.append("begin"))
    for name in "ab":
        manager = InitManager(name)
        manager.add(target)
        manager.initialize(lambda name=name: told.append(name))  # type: ignore[misc]
    target.ready()
    assert told == ["begin", "begin", "a", "b"]
