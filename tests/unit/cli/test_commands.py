from __future__ import annotations

import json
from pathlib import Path

import pytest

from joinery import __version__
from joinery_cli import exits

ROOT = Path(__file__).parents[3]
KEYS = ["code", "severity", "node_id", "pointer", "line", "column", "message", "hint"]


def test_version(joinery):
    assert joinery("--version").stdout == f"joinery {__version__}\n"


def test_help_names_every_command(joinery):
    result = joinery("--help")
    assert result.exit_code == 0
    for name in [
        "validate",
        "fmt",
        "compile",
        "plan",
        "graph",
        "run",
        "watch",
        "answer",
        "doctor",
        "demo",
        "local",
    ]:
        assert f"  {name} " in result.stdout
    assert joinery().exit_code == exits.INVALID


# -- validate --------------------------------------------------------------------------


def test_a_valid_file(joinery, pure):
    result = joinery("validate", pure)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{pure} is valid: 4 nodes\n"
    result = joinery("validate", pure, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"valid": True, "errors": []})


def test_an_invalid_file_tells_everything_at_once(joinery, broken):
    result = joinery("validate", broken, "--json")
    assert result.exit_code == exits.INVALID
    report = json.loads(result.stdout)
    assert report["valid"] is False
    assert len(report["errors"]) >= 3
    assert all(list(row) == KEYS for row in report["errors"])
    assert {row["line"] for row in report["errors"]} >= {4, 5, 7}


def test_a_person_sees_place_line_caret_and_hint(joinery, broken):
    result = joinery("validate", broken)
    assert result.exit_code == exits.INVALID
    lines = result.stdout.splitlines()
    place = next(i for i, line in enumerate(lines) if ":5:13:" in line)
    assert lines[place].startswith(f"{broken}:5:")
    assert "error:" in lines[place]
    assert lines[place + 1] == '  5 |   b: {type: tempalte, template: "x"}'
    caret = lines[place + 2].index("^") - len("  5 | ")
    assert lines[place + 1][len("  5 | ") :][caret:].startswith("tempalte")
    assert "template" in lines[place + 3]
    assert lines[-1].startswith(f"{broken} is invalid: ")


def test_the_caret_stands_right_under_wide_text_and_in_long_lines(joinery, tmp_path):
    file = tmp_path / "wide.yaml"
    file.write_text(
        "version: 1\nname: wide\nnodes:\n"
        '  a: {description: "日本語", type: nope}\n'
        f'  b: {{description: "{"x" * 500}", type: nope}}\n'
        "edges: [start -> a -> b -> end]\n",
        encoding="utf-8",
    )
    lines = joinery("validate", file).stdout.splitlines()
    wide = next(i for i, line in enumerate(lines) if line.startswith("  4 | "))
    assert lines[wide + 1].index("^") == lines[wide].index("nope") + 3
    long = next(i for i, line in enumerate(lines) if line.startswith("  5 | "))
    assert len(lines[long]) < 120
    assert lines[long][lines[long + 1].index("^") :].startswith("nope")


@pytest.mark.parametrize("command", ["validate", "compile", "plan", "graph", "run"])
def test_a_file_that_cannot_be_read(joinery, tmp_path, command):
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        result = joinery(command, path)
        assert result.exit_code == exits.INVALID
        assert result.stdout == ""
        assert result.stderr.startswith(f"error: cannot read '{path}': {reason}")
        assert result.stderr.count("\n") == 1


def test_validate_json_is_json_even_then(joinery, tmp_path):
    result = joinery("validate", tmp_path / "none.yaml", "--json")
    assert result.exit_code == exits.INVALID
    (row,) = json.loads(result.stdout)["errors"]
    assert list(row) == KEYS
    assert row["code"] == "file.unreadable"


def test_a_binary_file_is_invalid(joinery, tmp_path):
    file = tmp_path / "image.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x1b[31m")
    result = joinery("validate", file)
    assert result.exit_code == exits.INVALID
    assert "not UTF-8" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("command", ["compile", "plan", "graph", "run"])
def test_the_other_commands_tell_what_is_wrong_on_stderr(joinery, broken, command):
    result = joinery(command, broken)
    assert result.exit_code == exits.INVALID
    assert result.stdout == ""
    assert f"{broken}:5:" in result.stderr
    assert "Traceback" not in result.stderr


# -- compile, plan, graph --------------------------------------------------------------


def test_compile_prints_or_writes_a_state_machine(joinery, pure, tmp_path):
    result = joinery("compile", pure)
    machine = json.loads(result.stdout)
    assert machine["QueryLanguage"] == "JSONata"
    out = tmp_path / "machine.json"
    written = joinery("compile", pure, "-o", out)
    assert (written.exit_code, written.stdout) == (0, "")
    assert out.read_text() == result.stdout
    plain = json.loads(joinery("compile", pure, "--opt", "0").stdout)
    assert len(plain["States"]) > len(machine["States"])


def test_diff_shows_what_a_change_does_to_the_machine(joinery, tmp_path):
    before, after = tmp_path / "a.yaml", tmp_path / "b.yaml"
    text = "version: 1\nname: x\nnodes:\n  a: {type: llm, prompt: hi}\n"
    before.write_text(text + "edges: [start -> a -> end]\n")
    after.write_text(text + "  b: {type: llm, prompt: ho}\nedges: [start -> a -> b -> end]\n")
    same = joinery("diff", before, before)
    assert (same.exit_code, same.stdout) == (0, "")
    result = joinery("diff", before, after, "--opt", "1")
    assert result.exit_code == 0
    changed = [line for line in result.stdout.splitlines() if line.startswith(("+", "-"))]
    assert any('"Next": "b"' in line for line in changed)
    assert "1 states added, 0 removed; transitions at most 2 before, 3 after" in result.stderr


def test_compile_to_where_nothing_can_be_written(joinery, pure, tmp_path):
    result = joinery("compile", pure, "-o", tmp_path / "no" / "machine.json")
    assert result.exit_code == exits.INVALID
    assert "cannot write" in result.stderr


def test_an_optimisation_level_that_is_none(joinery, pure):
    assert joinery("compile", pure, "--opt", "3").exit_code == exits.INVALID
    assert joinery("plan", pure, "--opt", "x").exit_code == exits.INVALID


def test_plan(joinery, pure):
    report = json.loads(joinery("plan", pure, "--json").stdout)
    assert set(report["transitions"]) == {"min", "expected", "max"}
    assert report["model_calls"]["max"] == 0
    text = joinery("plan", pure).stdout
    assert "state transitions" in text
    assert "1,000 runs" in text
    assert "Step Functions" in text


def test_graph(joinery, pure):
    assert joinery("graph", pure).stdout.startswith("flowchart")


# -- run, inline -----------------------------------------------------------------------


def test_run_prints_the_result_as_json_and_nothing_else(joinery, pure):
    result = joinery("run", pure, "--input", "number=12", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert shown.pop("run_id").startswith("run_")
    assert shown == {
        "status": "completed",
        "outputs": {"text": "Hello world!", "size": "big"},
        "nodes": {
            "hello": {"status": "completed", "attempts": 1},
            "big": {"status": "completed", "attempts": 1},
            "yes": {"status": "completed", "attempts": 1},
            "no": {"status": "skipped", "attempts": 0},
        },
        "transitions": 0,
        "transitions_predicted": 0,
        "aws_calls": {},
        "tokens": {"input": 0, "output": 0},
        "model_calls": 0,
        "model_usd": 0.0,
        "price_usd": 0.0,
    }


def test_run_for_a_person(joinery, pure):
    result = joinery("run", pure, "-i", "number=3", "-i", "who=Ada")
    assert result.exit_code == 0
    assert "text: Hello Ada!\n" in result.stdout
    assert "size: not big\n" in result.stdout
    assert "hello completed in" in result.stderr
    assert "yes skipped" in result.stderr
    assert "\x1b" not in result.output


def test_a_run_that_fails(joinery, tmp_path):
    file = tmp_path / "fails.yaml"
    file.write_text(
        "version: 1\nname: fails\ninputs: {x: {type: object}}\n"
        'nodes:\n  a: {type: template, template: "{{ inputs.x.deep }}"}\n'
        '  b: {type: template, template: "after"}\nedges: [start -> a -> b -> end]\n'
        'outputs: {t: "{{ nodes.b.text }}"}\n'
    )
    result = joinery("run", file, "-i", "x:={}", "--json")
    assert result.exit_code == exits.FAILED
    shown = json.loads(result.stdout)
    assert shown["status"] == "failed"
    assert shown["outputs"] is None
    assert shown["error"]["node_id"] == "a"
    assert shown["nodes"] == {
        "a": {"status": "failed", "attempts": 1},
        "b": {"status": "pending", "attempts": 0},
    }
    assert "warning: inputs.x.deep" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: {{ inputs.x.deep }}: it has no value")
    text = joinery("run", file, "-i", "x:={}").output
    assert "never began: b" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "input 'number' is required"),
        (["-i", "number=x"], "input 'number' must be a whole number, not 'x'"),
        (["-i", "number=1", "-i", "nope=1"], "no input 'nope'; declared: number, who"),
        (["-i", "number"], "is not name=text"),
        (["-i", "number=@/does/not/exist"], "cannot read '/does/not/exist'"),
        (["-i", "number=1", "-i", "who=@/tmp"], "Is a directory"),
        (["-i", "number=1", "-i", "who=@/dev/zero"], "the limit is 1,048,576"),
    ],
)
def test_inputs_that_are_wrong(joinery, pure, arguments, says):
    for json_ in ([], ["--json"]):
        result = joinery("run", pure, *arguments, *json_)
        assert result.exit_code == exits.INVALID
        assert result.stdout == ""
        assert says in result.stderr
        assert len(result.stderr.splitlines()) <= 3


def test_the_local_engine_without_a_local_stack(joinery, pure):
    for arguments in (
        ["run", pure, "-i", "number=1", "--engine", "local"],
        ["watch", "run_" + "0" * 26],
    ):
        result = joinery(*arguments)
        assert result.exit_code == exits.FAILED
        assert result.stderr == (
            "error: the local stack is not running: start it with joinery local up\n"
        )


def test_words_that_do_not_exist(joinery, pure):
    for arguments in (["frobnicate"], ["run", pure, "--engine", "moon"], ["run"], ["watch"]):
        assert joinery(*arguments).exit_code == exits.INVALID


def test_prompts_in_files_travel_with_the_workflow(tmp_path):
    from joinery.workflow.validation import load_workflow
    from joinery_cli.workflow_file import publishable, read_workflow

    (tmp_path / "ask.md").write_text('Say "{{ inputs.x }}"\n')
    file = tmp_path / "prompts.yaml"
    file.write_text(
        "version: 1\nname: prompts\ninputs: {x: {type: string}}\n"
        "defaults: {timeout: 3m}\n"
        "nodes:\n  a: {type: llm, prompt: {file: ask.md}}\n  b: {type: llm, prompt: plain}\n"
        'edges: [start -> a -> b -> end]\noutputs: {t: "{{ nodes.b.text }}"}\n'
    )
    source = publishable(read_workflow(file))
    workflow = load_workflow(source)
    assert workflow.nodes["a"].prompt == 'Say "{{ inputs.x }}"\n'
    assert workflow.defaults.timeout == 180.0


# -- models ----------------------------------------------------------------------------


DEBATE = ROOT / "examples" / "debate.yaml"
CASSETTE = [
    {"node": "pro", "text": "It pays for itself."},
    {"node": "con", "call": 1, "error": "TransientModelUnavailable"},
    {"node": "con", "text": "It hides its costs."},
    {"node": "verdict", "text": '{"reason": "both have a point", "score": 80}'},
]


def test_a_script_answers_in_place_of_every_model(joinery, tmp_path, monkeypatch):
    monkeypatch.setattr("joinery.runs.interpreter._Walk._pause", lambda *_: None)
    script = tmp_path / "cassette.json"
    script.write_text(json.dumps(CASSETTE))
    result = joinery("run", DEBATE, "-i", "document=x", "--scripted", script, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert shown["outputs"]["score"] == 80
    assert shown["nodes"]["con"] == {"status": "completed", "attempts": 2}
    assert shown["model_calls"] == 4
    assert shown["tokens"]["output"] > 0
    text = joinery("run", DEBATE, "-i", "document=x", "--scripted", script)
    assert "con #1 (attempt 2)" in text.stdout
    assert "con #1 is tried again" in text.stderr
    assert "  For: It pays for itself." in text.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"{}", "a cassette is a list"),
        (b"- {node: a}", "entry 1 (line 1): needs text, tool_calls, error or fault"),
        (b"[" * 50_000, "c.json"),
        (b" " * 1_048_577, "more than 1,048,576 bytes"),
    ],
)
def test_scripts_that_are_wrong(joinery, tmp_path, content, says):
    script = tmp_path / "c.json"
    if content is not None:
        script.write_bytes(content)
    result = joinery("run", DEBATE, "-i", "document=x", "--scripted", script, "--json")
    assert (result.exit_code, result.stdout) == (exits.INVALID, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_model_that_does_not_exist(joinery):
    result = joinery("run", DEBATE, "-i", "document=x", "--model", "moon:1")
    assert result.exit_code == exits.INVALID
    assert "no provider 'moon'; there are local" in result.stderr


def test_a_model_that_does_not_answer_fails_the_run(joinery, tmp_path, monkeypatch):
    monkeypatch.setattr("joinery.runs.interpreter._Walk._pause", lambda *_: None)
    monkeypatch.setattr("joinery.llm.calls.Calls.pause", lambda *_: True)
    monkeypatch.setenv("JOINERY_MODEL_BASE_URL", "http://127.0.0.1:9/v1")
    result = joinery("run", DEBATE, "-i", "document=x", "--json")
    assert result.exit_code == exits.FAILED
    error = json.loads(result.stdout)["error"]
    assert error["node_id"] in ("pro", "con")
    assert "127.0.0.1:9" in error["message"]


# -- local, doctor ---------------------------------------------------------------------


def test_local_status_and_down_without_a_stack(joinery):
    result = joinery("local", "status", "--json")
    assert result.exit_code == exits.FAILED
    assert json.loads(result.stdout)["state"] == "down"
    assert joinery("local", "down").stdout == "there was no local stack\n"
    assert joinery("local", "logs").exit_code == exits.FAILED


def test_doctor(joinery):
    result = joinery("doctor", "--json")
    report = json.loads(result.stdout)
    assert report["ok"] is (result.exit_code == 0)
    assert {"python", "disk"} <= {row["name"] for row in report["checks"]}
    assert all(set(row) == {"name", "ok", "detail", "hint"} for row in report["checks"])
    assert "python" in joinery("doctor").stdout
