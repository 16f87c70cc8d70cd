"""`joinery fmt`: what it writes, what it says, and how it ends."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from joinery_cli import exits

ODD = "name:   x # short\nversion: 1\n"
FORM = "version: 1\nname: x  # short\n"
BAD = "name: a\nname: b\n"


@pytest.fixture
def odd(tmp_path):
    file = tmp_path / "odd.yaml"
    file.write_text(ODD)
    return file


@pytest.fixture
def good(tmp_path):
    file = tmp_path / "good.yaml"
    file.write_text(FORM)
    return file


@pytest.fixture
def bad(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    return file


def test_files_are_rewritten_and_those_that_changed_are_named(joinery, odd, good):
    before = good.stat()
    result = joinery("fmt", odd, good)
    assert (result.exit_code, result.stdout, result.stderr) == (exits.OK, f"{odd}\n", "")
    assert odd.read_text() == good.read_text() == FORM
    assert (good.stat().st_ino, good.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert joinery("fmt", odd, good).stdout == ""


def test_check_changes_nothing_and_names_what_would_change(joinery, odd, good):
    result = joinery("fmt", "--check", good, odd)
    assert (result.exit_code, result.stdout, result.stderr) == (5, f"{odd}\n", "")
    assert exits.UNFORMATTED == 5
    assert odd.read_text() == ODD
    result = joinery("fmt", "--check", good)
    assert (result.exit_code, result.stdout) == (exits.OK, "")


def test_diff_changes_nothing_and_is_a_patch(joinery, odd, good):
    result = joinery("fmt", "--diff", odd, good)
    assert result.exit_code == exits.OK
    assert result.stdout == (
        f"--- {odd}\n+++ {odd}\n@@ -1,2 +1,2 @@\n"
        "-name:   x # short\n version: 1\n+name: x  # short\n"
    )
    assert odd.read_text() == ODD
    assert joinery("fmt", "--diff", "--check", odd).exit_code == exits.UNFORMATTED
    assert joinery("fmt", "--diff", "--check", good).exit_code == exits.OK


def test_the_page_shows_a_real_diff(joinery, tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    shown = page.partition("$ joinery fmt --diff flow.yaml\n")[2].partition("```")[0]
    before = [line[1:] for line in shown.splitlines()[3:] if not line.startswith("+")]
    monkeypatch.chdir(tmp_path)
    Path("flow.yaml").write_text("\n".join(before) + "\n")
    assert joinery("fmt", "--diff", "flow.yaml").stdout == shown


def test_a_diff_of_a_file_without_a_last_line_end(joinery, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("version: 1\nname:  x")
    lines = joinery("fmt", "--diff", file).stdout.split("\n")[3:]
    assert lines == [
        " version: 1", "-name:  x", "\\ No newline at end of file", "+name: x", "",
    ]  # fmt: skip


def test_standard_input_goes_to_standard_output(joinery):
    result = joinery("fmt", "-", input=ODD + "description: é😀\n")
    assert (result.exit_code, result.stdout) == (exits.OK, FORM + "description: é😀\n")
    result = joinery("fmt", "-", "--check", input=ODD)
    assert (result.exit_code, result.stdout) == (exits.UNFORMATTED, "<stdin>\n")
    result = joinery("fmt", "-", "--diff", input=ODD)
    assert result.stdout.startswith("--- <stdin>\n+++ <stdin>\n")


def test_standard_input_that_cannot_be_read(joinery):
    result = joinery("fmt", "-", input=BAD)
    assert (result.exit_code, result.stdout) == (exits.INVALID, "")
    assert result.stderr.startswith("<stdin>:2:1: error: the key 'name' stands here a second time")


@pytest.mark.parametrize("option", [[], ["--check"], ["--diff"]])
def test_what_is_no_yaml_is_told_as_validate_does_and_left(joinery, bad, odd, option):
    result = joinery("fmt", *option, bad, odd)
    assert result.exit_code == exits.INVALID
    shown = joinery("validate", bad).stdout.split("\n")
    first = next(index for index, line in enumerate(shown) if "yaml.duplicate_key" in line)
    assert "\n".join(shown[first : first + 4]) in result.stderr
    assert bad.read_text() == BAD
    assert str(odd) in result.stdout  # the others are looked at all the same
    assert (odd.read_text() == FORM) is (not option)


def test_an_invalid_workflow_is_formatted(joinery, broken):
    assert joinery("validate", broken).exit_code == exits.INVALID
    assert joinery("fmt", broken).exit_code == exits.OK
    assert joinery("fmt", "--check", broken).exit_code == exits.OK


def test_files_that_are_none(joinery, tmp_path):
    missing, loop = tmp_path / "none.yaml", tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "pipe")
    result = joinery("fmt", missing, loop, tmp_path, tmp_path / "pipe")
    assert result.exit_code == exits.INVALID
    assert [line.split(": ")[1:] for line in result.stderr.splitlines()] == [
        [f"cannot read '{missing}'", "No such file or directory"],
        [f"cannot read '{loop}'", "Too many levels of symbolic links"],
        [f"cannot format '{tmp_path}'", "it is not a file"],
        [f"cannot format '{tmp_path / 'pipe'}'", "it is not a file"],
    ]
    assert joinery("fmt").exit_code == exits.INVALID


def test_links_stay_links_and_modes_stay(joinery, odd, tmp_path):
    odd.chmod(0o640)
    (tmp_path / "far").mkdir()
    link = tmp_path / "far" / "link.yaml"
    link.symlink_to("../odd.yaml")
    assert joinery("fmt", link).stdout == f"{link}\n"
    assert link.is_symlink()
    assert odd.read_text() == FORM
    assert stat.S_IMODE(odd.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "odd.yaml"]


def test_a_file_that_may_not_be_written_stays(joinery, odd, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write everything
    result = joinery("fmt", odd)
    assert (result.exit_code, result.stdout) == (exits.INVALID, "")
    assert result.stderr == f"error: cannot write '{odd}': it is read-only\n"
    assert odd.read_text() == ODD


def test_a_disk_that_is_full_leaves_the_file_and_nothing_else(joinery, odd, monkeypatch):
    def full(_number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = joinery("fmt", odd)
    assert result.exit_code == exits.INVALID
    assert result.stderr == f"error: cannot write '{odd}': No space left on device\n"
    assert [path.read_text() for path in odd.parent.iterdir()] == [ODD]


def test_json_files(joinery, tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"name": "x", "version": 1}')
    assert joinery("fmt", file).exit_code == exits.OK
    assert file.read_text() == '{\n  "version": 1,\n  "name": "x"\n}\n'
    file.write_text("name: x\n")
    result = joinery("fmt", file)
    assert result.exit_code == exits.INVALID
    assert "[format.not_json]" in result.stderr
    assert file.read_text() == "name: x\n"


def test_a_file_that_would_be_damaged_is_left(joinery, odd, monkeypatch):
    from joinery.workflow.formatting import text

    monkeypatch.setattr(text, "write", lambda _tree: "version: 1\nname: y # short\n")
    result = joinery("fmt", odd)
    assert (result.exit_code, result.stdout) == (exits.INVALID, "")
    assert "error: formatting would change what stands at '/name'" in result.stderr
    assert "[format.unsafe]" in result.stderr
    assert odd.read_text() == ODD


def test_only_the_reader_is_imported(odd):
    code = (
        "import sys\nfrom joinery_cli.main import run\n"
        f"sys.argv = ['joinery', 'fmt', {str(odd)!r}]\nassert run() == 0\n"
        "names = ('rich', 'boto3', 'httpx', 'jsonschema', 'joinery.workflow.model')\n"
        "sys.stderr.write(','.join(m for m in names if m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{odd}\n", "")
