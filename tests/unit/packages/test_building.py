"""Packages are built by uv from wheels; what they came to stays until somebody asks for more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kit.wheels import greeter, only_from, wheel

from joinery import limits
from joinery.code_errors import PermanentCodePackage
from joinery.errors import InvalidRequest, Unavailable
from joinery.packages import resolve
from joinery.packages.build import Builder, home
from joinery.packages.errors import IndexUnavailable, PackageTooLarge, RequirementsUnsolvable
from joinery.packages.publishing import send
from joinery.packages.requirements import Needed, normal_all, set_key
from joinery.packages.target import PackageTarget
from joinery.sandbox.types import PackageRef

ARM = PackageTarget("3.13", "aarch64-manylinux_2_34")
HERE = PackageTarget.here()


def needed(*requirements: str) -> Needed:
    return Needed(set_key(requirements), normal_all(requirements), ("/tools/t",))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    greeter(tmp_path / "wheels")
    only_from(tmp_path / "wheels", tmp_path / "home", monkeypatch)
    return tmp_path / "wheels"


def test_what_is_built_is_complete_and_pinned(wheels: Path) -> None:
    told: list[str] = []
    built = Builder(ARM, tell=told.append).build(needed("greeter"))
    assert built.package.resolved == ("greeter==1.0", "manners==1.2")
    assert built.package.modules == ("greeter", "manners")
    assert built.file.stat().st_size == built.package.bytes
    assert told == ["building packages for Python 3.13 on aarch64-manylinux_2_34: greeter …"]
    # Plain Python is the same everywhere, and so is its name.
    here = Builder(HERE).build(needed("greeter"))
    assert here.package.sha256 == built.package.sha256
    with Builder(HERE).folder(PackageRef("me", here.package.sha256, here.package.bytes)) as folder:
        assert (folder / "greeter/data/words.txt").read_text() == "hello\n"
    with (
        pytest.raises(PermanentCodePackage, match="not built"),
        Builder(HERE).folder(PackageRef("me", "0" * 64, 1)),
    ):
        pytest.fail("there is none")


def test_the_same_requirements_give_the_same_versions(
    wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Builder(ARM).build(needed("greeter", "manners"))
    greeter(wheels, "1.1")
    assert Builder(ARM).build(needed("manners", "Greeter")).package == first.package
    # Also where the zip is gone, and without asking anybody where it is not.
    first.file.unlink()
    again = Builder(ARM).build(needed("greeter", "manners"))
    assert again.package == first.package
    with monkeypatch.context() as patch:
        patch.setattr(resolve, "_program", lambda: "/nowhere/uv")
        assert Builder(ARM).build(needed("greeter", "manners")) == again
        with pytest.raises(Unavailable, match="pip install uv"):
            Builder(ARM).build(needed("manners"))
    newer = Builder(ARM, upgrade=True).build(needed("greeter", "manners"))
    assert newer.package.resolved == ("greeter==1.1", "manners==1.2")
    assert Builder(ARM).build(needed("greeter", "manners")) == newer


def test_a_record_that_cannot_be_read_is_made_again(wheels: Path, tmp_path: Path) -> None:
    first = Builder(ARM).build(needed("manners"))
    [record] = (tmp_path / "home/locks").iterdir()
    for text in ("", "{}", "[1]", json.dumps({"format": 99, "package": {}, "lock": "x"})):
        record.write_text(text)
        assert Builder(ARM).build(needed("manners")) == first


@pytest.mark.parametrize(
    ("requirements", "named", "said"),
    [
        (("manners==9", "greeter"), ["manners==9"], "no version of manners==9"),
        (("nosuchthing", "greeter"), ["nosuchthing"], "not found"),
        (("windows-only",), ["windows-only"], "no wheels with a matching platform tag"),
        (("source-only",), ["source-only"], "source-only"),
        (("future-only",), ["future-only"], "no wheels with a matching Python"),
        (("greeter", "manners<1"), ["greeter", "manners<1"], "depends on manners>=1"),
    ],
)
def test_what_cannot_be_had_is_told_by_its_name(
    requirements: tuple[str, ...], named: list[str], said: str, wheels: Path
) -> None:
    wheel(wheels, "windows_only", "1.0", {"w.py": ""}, tag="cp313-cp313-win_amd64")
    wheel(wheels, "future_only", "1.0", {"f.py": ""}, tag="cp399-cp399-manylinux_2_17_aarch64")
    (wheels / "source_only-1.0.tar.gz").write_bytes(b"no wheel")
    with pytest.raises(RequirementsUnsolvable) as error:
        Builder(ARM).build(needed(*requirements))
    assert error.value.details["requirements"] == named
    assert said in error.value.message
    assert "Python 3.13 on aarch64" in error.value.message
    assert len(error.value.message) < 1_000
    assert error.value.to_dict()["code"] == "packages.unsolvable"


def test_an_index_that_does_not_answer(
    wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(IndexUnavailable, match="nowhere-else==1") as error:
        Builder(ARM).build(needed("nowhere-else==1"))
    assert (error.value.code, error.value.retryable) == ("packages.index_unavailable", True)
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(IndexUnavailable):
        Builder(ARM).build(needed("nowhere-else==1"))


def test_too_much_is_refused(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PACKAGE_BYTES", "PACKAGE_ZIP_BYTES", "PACKAGES_RESOLVED_MAX"):
        with monkeypatch.context() as patch:
            patch.setattr(limits, name, 1)
            with pytest.raises(PackageTooLarge):
                Builder(ARM).build(needed("greeter"))


def test_where_packages_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home({"JOINERY_PACKAGES_HOME": "/x"}) == Path("/x")
    monkeypatch.setattr("sys.platform", "linux")
    assert home({"XDG_CACHE_HOME": "/c"}) == Path("/c/joinery/packages")
    assert home({}) == Path.home() / ".cache/joinery/packages"
    monkeypatch.setattr("sys.platform", "darwin")
    assert home({}) == Path.home() / "Library/Caches/joinery/packages"


@pytest.mark.parametrize(
    ("glibc", "machine", "platform"),
    [
        ("glibc 2.34", "aarch64", "aarch64-manylinux_2_34"),
        ("glibc 2.30", "x86_64", "x86_64-manylinux_2_28"),
        ("glibc 2.99", "x86_64", "x86_64-manylinux_2_40"),
        ("glibc 2.12", "x86_64", "x86_64-manylinux2014"),
        ("", "x86_64", "x86_64-unknown-linux-musl"),
    ],
)
def test_targets_of_linux(
    glibc: str, machine: str, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.confstr", lambda _: glibc)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert PackageTarget.here().platform == platform


def test_targets_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert PackageTarget.here().platform == "aarch64-apple-darwin"


@pytest.mark.parametrize(
    "said", [{}, {"python": "3.13"}, {"python": "3.13", "platform": "--x"},
             {"python": "3.13", "platform": "a/../b"}, {"python": "2.7\n", "platform": "a"}],
)  # fmt: skip
def test_a_target_that_is_none(said: dict[str, str]) -> None:
    with pytest.raises(Unavailable):
        PackageTarget.from_dict(said)
    assert PackageTarget.from_dict(ARM.to_dict()) == ARM


def test_sending_says_what_is_wrong_without_the_address(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"x")
    upload: dict[str, Any] = {"url": "http://127.0.0.1:9/secret", "headers": {}}
    pauses: list[float] = []
    with pytest.raises(Unavailable) as error:
        send(file, upload, pauses.append)
    assert "secret" not in str(error.value.to_dict())
    assert len(pauses) == 2
    assert not isinstance(error.value, InvalidRequest)
