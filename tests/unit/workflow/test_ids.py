"""Names of any script become ids that are safe, unique, readable and always the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joinery import limits
from joinery.workflow.ids import RESERVED, safe_ids
from joinery.workflow.model import NODE_ID


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("draft", "draft"),
        ("_x9", "_x9"),
        ("Write a draft", "Write_a_draft"),
        ("Prüfung — Größe", "Prufung_Grosse"),
        ("L'été à Łódź", "Lete_a_Lodz"),
        ("ﬁrst ½", "first_1_2"),
        ("Ⅳ. Kapitel", "IV_Kapitel"),
        ("2nd opinion", "n_2nd_opinion"),
        ("node-start::001", "node_start_001"),
        ("面试官", "node_1"),
        ("Интервью", "node_1"),
        ("محرر", "node_1"),
        ("AI 面试官", "node_1"),
        ("面 interviewer", "interviewer"),
        ("🎉", "node_1"),
        ("", "node_1"),
        ("a" * 100, "a" * 64),
        ("start", "start_2"),
        ("End", "End_2"),
        ("error", "error_2"),
        ("\x00", "node_1"),
    ],
)
def test_ids_can_be_read(name: str, expected: str) -> None:
    assert safe_ids([name]) == {name: expected}


def test_ids_stay_apart() -> None:
    found = safe_ids(["Judge!", "judge", "JUDGE?", "面", "judge 2", "node_4", "judge_2", "judge"])
    assert found == {
        "Judge!": "Judge_3",
        "judge": "judge",
        "JUDGE?": "JUDGE_4",
        "面": "node_4_2",
        "judge 2": "judge_2_2",
        "node_4": "node_4",
        "judge_2": "judge_2",
    }


def test_long_names_that_begin_alike() -> None:
    names = ["x" * 70 + str(i) for i in range(120)]
    found = safe_ids(names)
    assert len(set(found.values())) == 120
    assert found[names[119]] == "x" * 60 + "_120"


@given(st.lists(st.one_of(st.text(max_size=90), st.sampled_from(["a", "A", "ä", "a_2", "start"]))))
def test_every_name_has_an_id_of_its_own(names: list[str]) -> None:
    found = safe_ids(names)
    assert list(found) == list(dict.fromkeys(names))
    assert all(re.fullmatch(NODE_ID, one) for one in found.values())
    assert all(len(one) <= limits.NODE_ID_CHARS for one in found.values())
    lowered = [one.lower() for one in found.values()]
    assert len(set(lowered)) == len(lowered)
    assert not set(lowered) & RESERVED
    assert safe_ids(names) == found
    assert safe_ids(found.values()) == {one: one for one in found.values()}
