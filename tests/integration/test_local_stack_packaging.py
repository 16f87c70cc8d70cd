"""The packager: what is in a bundle, that it runs alone, and that it is built once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from joinery_cli.packaging import FUNCTIONS, PackagingFailed, Target, build, export
from joinery_cli.packaging.__main__ import main
from joinery_cli.packaging.trim import SERVICES
from joinery_cli.project import find_project

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = Target.for_this_machine()
HANDLER = "def handler(event, context):\n    return {}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one small function."""
    real = find_project()
    (tmp_path / "template.yaml").touch()
    (tmp_path / "requirements").mkdir()
    shutil.copy(real / "requirements" / "dev.lock", tmp_path / "requirements")
    library = tmp_path / "layers" / "joinery" / "joinery"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("NAME = 'joinery'\n")
    function = tmp_path / "functions" / "small"
    function.mkdir(parents=True)
    (function / "requirements.txt").write_text("jmespath\n")
    (function / "app.py").write_text(HANDLER)
    return tmp_path


def requirements(project: Path, text: str) -> None:
    (project / "functions" / "small" / "requirements.txt").write_text(text)


def test_a_bundle_holds_the_handler_the_library_and_the_packages(project: Path) -> None:
    bundle = build(project, "small", LOCAL)
    assert {"app.py", "joinery", "jmespath", "awslambdaric", "bootstrap"} <= {
        path.name for path in bundle.path.iterdir()
    }
    assert not list(bundle.path.glob("requirements.txt"))
    assert bundle.size == sum(p.stat().st_size for p in bundle.path.rglob("*") if p.is_file())


def test_a_bundle_is_built_once_and_again_when_a_source_changes(project: Path) -> None:
    first = build(project, "small", LOCAL)
    made = first.path.stat().st_ino
    assert build(project, "small", LOCAL) == first
    assert first.path.stat().st_ino == made
    (project / "functions" / "small" / "app.py").write_text(HANDLER + "# changed\n")
    assert build(project, "small", LOCAL).digest != first.digest


def test_a_bundle_sees_no_package_of_the_development_environment(project: Path) -> None:
    bundle = build(project, "small", LOCAL)
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import joinery, jmespath, awslambdaric; import pytest"],
        cwd=bundle.path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'pytest'" in done.stderr


def test_a_package_that_is_not_locked_is_refused(project: Path) -> None:
    lock = project / "requirements" / "dev.lock"
    lock.write_text(re.sub(r"(?m)^jmespath==.*\n(    .*\n)+", "", lock.read_text()))
    with pytest.raises(PackagingFailed, match=r"not in dev\.lock: jmespath"):
        build(project, "small", LOCAL)


def test_a_package_with_another_hash_is_refused(project: Path) -> None:
    lock = project / "requirements" / "dev.lock"
    lines = lock.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("jmespath=="))
    version = lines[at].split(";")[0].strip(" \\")
    lock.write_text(f"{version} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(PackagingFailed, match=r"(?i)hash"):
        build(project, "small", LOCAL)


def test_an_unknown_function_is_refused(project: Path) -> None:
    with pytest.raises(PackagingFailed, match="there is no function other"):
        build(project, "other", LOCAL)


def test_only_the_services_we_call_are_carried(project: Path) -> None:
    requirements(project, "boto3\n")
    bundle = build(project, "small", LOCAL)
    data = bundle.path / "botocore" / "data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    program = (
        "import boto3\n"
        f"for name in {sorted(SERVICES)}:\n"
        "    boto3.client(name, region_name='us-east-1', aws_access_key_id='a',"
        " aws_secret_access_key='b')\n"
        "boto3.resource('dynamodb', region_name='us-east-1')\n"
        "print('made')"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=bundle.path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("made", "")


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_a_bundle_for_aws_has_wheels_of_its_processor(project: Path, architecture: str) -> None:
    requirements(project, "pydantic\n")
    bundle = build(project, "small", Target.for_aws(architecture))
    libraries = [path.name for path in bundle.path.rglob("*.so")]
    machine = "aarch64" if architecture == "arm64" else "x86_64"
    assert libraries
    assert all(f"cpython-313-{machine}" in name for name in libraries)
    assert not (bundle.path / "bootstrap").exists()


def test_export_is_a_copy_of_its_own(project: Path, tmp_path: Path) -> None:
    bundle = build(project, "small", LOCAL)
    export(bundle, tmp_path / "artifacts")
    (tmp_path / "artifacts" / "app.py").write_text("changed")
    assert (bundle.path / "app.py").read_text() == HANDLER


@pytest.mark.parametrize("logical_id", sorted(FUNCTIONS))
def test_every_function_fits_its_limit(
    logical_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([logical_id, str(tmp_path / "out")]) == 0
    assert " MB (arm64-python3.13)" in capsys.readouterr().out
    packed = tmp_path / "out.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tmp_path / "out").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "out"))
    assert packed.stat().st_size < 15_000_000


def test_every_function_of_the_template_has_a_folder() -> None:
    project = find_project()
    template = (project / "template.yaml").read_text()
    named = {line.strip(" :") for line in template.splitlines() if line.startswith("  ")}
    assert set(FUNCTIONS) <= named
    folders = {path.parent.name for path in project.glob("functions/*/requirements.txt")}
    assert folders == set(FUNCTIONS.values())


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["nothing", str(tmp_path)]) == 1
    assert "there is no function nothing" in capsys.readouterr().err
