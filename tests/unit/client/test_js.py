"""Runs the tests of the JavaScript client."""

from __future__ import annotations

import re

from kit.node import run_node


def test_the_javascript_client_passes_its_own_tests() -> None:
    files = ["tests/js/vectors.test.js", "tests/js/text.test.js", "tests/js/client.test.js"]
    ran = run_node("--test", "--test-reporter=tap", *files)
    assert ran.returncode == 0, ran.stdout[-8_000:] + ran.stderr
    counted = re.search(r"^# pass (\d+)$", ran.stdout, re.MULTILINE)
    assert counted and int(counted[1]) > 100, "the tests were found"
    assert re.search(r"^# skipped 0$", ran.stdout, re.MULTILINE)
