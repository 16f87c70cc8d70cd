"""Runs a debate inline against a model that takes its time: `python slow_run.py WORKFLOW`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from kit.models import Says

from joinery.compiler.build import build_plan
from joinery_cli.commands.run import conclude
from joinery_cli.engines.inline import InlineEngine
from joinery_cli.live.views import choose_view
from joinery_cli.session import Session
from joinery_cli.workflow_file import read_workflow


def answer(request, call):
    text = f"{call.node_id} speaks. " * 10
    if request.schema is not None:
        text = json.dumps({"reason": "Both have points.", "score": 90})
    for start in range(0, len(text), 6):
        time.sleep(0.05)
        yield text[start : start + 6]


plan = build_plan(read_workflow(Path(sys.argv[1])).require())
engine = InlineEngine(plan, {"document": "A text."}, Says(answer))
state = Session(engine, choose_view(json=False), patient=sys.stdin.isatty()).run()
sys.exit(conclude(engine, state, json=False))
