"""A recorded run, cut, dropped, doubled and delayed: both clients have all of it, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from kit.node import run_node
from kit.recorded import Recorded
from kit.stage import Faults, Stage, opened

from joinery.client import AsyncClient, Timing

RECORDED = Recorded.four_writers()
FAST = Timing(
    backoff_s=0.02, behind_s=0.05, quiet_s=0.3, poll_s=0.02, poll_max_s=0.2, wait_s=0.3,
    slow_open_s=2.0,
)  # fmt: skip
AT_ONCE = 40

LENGTH = len(RECORDED.messages)
CUTS = [Faults(cut=index, cut_late=late) for index in range(LENGTH) for late in (False, True)]
CHAOS = [Faults(drop=0.2, double=0.2, late=0.3, cut=seed * 5, seed=seed) for seed in range(20)]
OTHERS = [
    Faults(),
    Faults(drop=1.0),
    Faults(double=1.0),
    Faults(late=1.0),
    Faults(refuse=1),
    Faults(refuse=-1),
    Faults(refuse=-1, begin=60),
    Faults(refuse=-1, busy=0.3),
    Faults(busy=0.3, drop=0.3),
    Faults(tickets=False),
    Faults(begin=60),
    Faults(begin=LENGTH),
    Faults(begin=LENGTH, refuse=-1),
    *(Faults(resync=index) for index in range(0, LENGTH, 9)),
    *(Faults(hint=index) for index in range(0, LENGTH, 19)),
    *(Faults(cut=index, refuse=2) for index in range(0, LENGTH, 19)),
]


@pytest.fixture
def stage() -> Iterator[Stage]:
    with opened() as stage:
        yield stage


def by_python(scenes: list[dict[str, str]], _: Path) -> dict[str, Any]:
    results: dict[str, Any] = {}

    async def follow(scene: dict[str, str], turn: asyncio.Semaphore) -> None:
        async with (
            turn,
            AsyncClient(scene["http"], scene["ws"], scene["token"], timing=FAST) as client,
        ):
            try:
                messages = [message async for message in client.follow(scene["run_id"])]
                results[scene["name"]] = {"messages": messages}
            except Exception as error:
                results[scene["name"]] = {"error": repr(error)}

    async def all_of_them() -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(follow(scene, turn) for scene in scenes))

    asyncio.run(all_of_them())
    return results


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def by_javascript(scenes: list[dict[str, str]], folder: Path) -> dict[str, Any]:
    timing = {camel(name): value for name, value in asdict(FAST).items()}
    plan = folder / "plan.json"
    plan.write_text(json.dumps({"scenes": scenes, "timing": timing}), encoding="utf-8")
    ran = run_node("tests/js/follow_scenes.mjs", str(plan))
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    return {row.pop("name"): row for row in rows}


@pytest.mark.parametrize("follow", [by_python, by_javascript])
@pytest.mark.parametrize("faults", [CUTS, CHAOS, OTHERS], ids=["cuts", "chaos", "others"])
def test_the_whole_run_comes_once(
    stage: Stage, tmp_path: Path, follow: Any, faults: list[Faults]
) -> None:
    scenes = [
        stage.add(f"{number}", RECORDED, replace(fault, seed=number))
        for number, fault in enumerate(faults)
    ]
    results = follow(scenes, tmp_path)
    for number, fault in enumerate(faults):
        result = results[f"{number}"]
        assert "error" not in result, (fault, result)
        try:
            RECORDED.check(result["messages"])
        except AssertionError as error:
            raise AssertionError(f"{fault}: {error}") from error
        if fault.cut >= 0 and not fault.refuse:
            assert stage.scenes[f"{number}"].cuts, "it was cut"


@pytest.mark.parametrize("follow", [by_python, by_javascript])
def test_a_calm_run_needs_no_question(stage: Stage, tmp_path: Path, follow: Any) -> None:
    scene = stage.add("calm", RECORDED, Faults(tickets=False))
    RECORDED.check(follow([scene], tmp_path)["calm"]["messages"])
    assert set(stage.scenes["calm"].requests) <= {"POST /tickets"}
    assert len(stage.scenes["calm"].commands) == 1
