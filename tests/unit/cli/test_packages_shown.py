"""Files whose code has packages: what validate says, and how run builds them."""

from __future__ import annotations

import json

import pytest
from kit.wheels import greeter, only_from

from joinery.client import Client
from joinery_cli import exits

FLOW = """\
version: 1
name: greets
tools:
  greet:
    requirements: [{greeter}]
    parameters: {{who: {{type: string}}}}
    code: |
      from {module} import hello
      def greet(who):
          return hello(who)
nodes:
  a: {{type: tool, tool: greet, arguments: {{who: Ada}}}}
  below: {{type: workflow, workflow: ./below.yaml}}
edges: [start -> a -> below -> end]
outputs: {{text: "{{{{ nodes.a.text }}}}", below: "{{{{ nodes.below.output.text }}}}"}}
"""

BELOW = """\
version: 1
name: below
nodes:
  b:
    type: code
    requirements: [manners]
    code: |
      def main():
          from manners import polite
          return polite("Well")
edges: [start -> b -> end]
outputs: {text: "{{ nodes.b.text }}"}
"""


@pytest.fixture
def flow(tmp_path, monkeypatch):
    greeter(tmp_path / "wheels")
    only_from(tmp_path / "wheels", tmp_path / "home", monkeypatch)
    (tmp_path / "below.yaml").write_text(BELOW)

    def write(greeter="greeter==1.0", module="greeter"):
        file = tmp_path / "flow.yaml"
        file.write_text(FLOW.format(greeter=greeter, module=module))
        return file

    return write


def test_validate_says_what_would_be_built(joinery, flow):
    result = joinery("validate", flow())
    assert result.exit_code == 0
    assert "packages for tools/greet: greeter==1.0\n" in result.stdout
    shown = json.loads(joinery("validate", flow(), "--json").stdout)
    assert shown["packages"] == [{"requirements": ["greeter==1.0"], "for": ["/tools/greet"]}]
    wrong = joinery("validate", flow("greeter @ https://x"), "--json")
    assert wrong.exit_code == exits.INVALID
    assert "packages" not in json.loads(wrong.stdout)


def test_run_builds_once_and_says_so(joinery, flow):
    first = joinery("run", flow(), "--engine", "inline")
    assert first.exit_code == 0, first.stderr
    assert "Hello, Ada!" in first.stdout
    assert "Well!" in first.stdout
    assert first.stderr.count("building packages for Python 3.") == 2
    second = joinery("run", flow(), "--engine", "inline", "--json")
    assert second.stderr == ""
    assert json.loads(second.stdout)["outputs"] == {"text": "Hello, Ada!", "below": "Well!"}


def test_newer_versions_come_when_they_are_asked_for(joinery, flow, tmp_path):
    file = flow("greeter", "greeter")
    text = file.read_text().replace("return hello(who)", "import greeter; return greeter.VERSION")
    file.write_text(text)
    assert "1.0" in joinery("run", file, "--engine", "inline").stdout
    greeter(tmp_path / "wheels", "1.1")
    assert "1.0" in joinery("run", file, "--engine", "inline").stdout
    newer = joinery("run", file, "--engine", "inline", "--upgrade-packages").stdout
    assert "1.1" in newer
    assert "1.1" in joinery("run", file, "--engine", "inline").stdout


def test_what_cannot_be_had_ends_the_command_with_a_line(joinery, flow):
    result = joinery("run", flow("greeter==7"), "--engine", "inline")
    assert result.exit_code == exits.INVALID
    assert "error: there is no greeter==7 for Python 3." in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert "runs in this process" not in result.stderr


def test_an_import_that_no_package_has_is_shown_in_its_line(joinery, flow):
    result = joinery("run", flow(module="greeters"), "--engine", "inline")
    assert result.exit_code == exits.INVALID
    assert "flow.yaml:8:" in result.stderr
    assert "[code.import]" in result.stderr
    assert "did you mean 'greeter'?" in result.stderr


def test_the_local_stack_is_sent_what_was_built(joinery, flow, api, monkeypatch):
    sent = []
    monkeypatch.setattr("joinery.packages.publishing.send", lambda file, upload: sent.append(file))
    target = {"python": "3.13", "platform": "aarch64-manylinux_2_34"}
    api.answers[("GET", "/packages/target")] = [(200, target)]
    offer = {"stored": False, "upload": {"url": "http://127.0.0.1:9/x", "headers": {}}}
    api.answers[("POST", "/packages")] = [(200, offer)]
    published = {"workflow_id": "wf_1", "version": 1, "name": "below"}
    api.answers[("POST", "/workflows")] = [(201, published)]
    bodies = []
    publish = Client.publish

    def publishing(self, source, **more):
        bodies.append(more["packages"])
        return publish(self, source, **more)

    monkeypatch.setattr(Client, "publish", publishing)
    result = joinery("run", flow(), "--engine", "local")
    assert result.exit_code == 0, result.stderr
    assert [[p["resolved"] for p in packages] for packages in bodies] == [
        [["manners==1.2"]], [["greeter==1.0", "manners==1.2"]],
    ]  # fmt: skip
    assert len(sent) == 2
    assert "building packages for Python 3.13 on aarch64-manylinux_2_34: manners" in result.stderr
    assert "sending packages (0.0 MB): manners==1.2" in result.stderr


def test_a_real_package_from_the_real_index(joinery, tmp_path, monkeypatch):
    monkeypatch.setenv("JOINERY_PACKAGES_HOME", str(tmp_path / "home"))
    file = tmp_path / "real.yaml"
    file.write_text(
        "version: 1\nname: real\nnodes:\n  a:\n    type: code\n"
        "    requirements: [python-dateutil==2.9.0]\n    code: |\n"
        "      from datetime import date\n"
        "      from dateutil.relativedelta import relativedelta\n"
        "      def main():\n"
        "          return str(date(2024, 1, 31) + relativedelta(months=1))\n"
        "edges: [start -> a -> end]\noutputs: {day: '{{ nodes.a.text }}'}\n"
    )
    result = joinery("run", file, "--engine", "inline")
    assert result.exit_code == 0, result.stderr
    assert "2024-02-29" in result.stdout
