"""Zips of packages: the same bytes for the same files, and nothing trusted when they are opened."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from joinery import limits
from joinery.packages.archive import unpack
from joinery.packages.errors import PackageRefused, PackageTooLarge
from joinery.packages.pack import modules_in, pack
from joinery.packages.unpacked import Unpacked


def installed(folder: Path) -> Path:
    for name, text in {
        "greeter/__init__.py": "x = 1\n",
        "greeter/data/words.txt": "words",
        "greeter/__pycache__/__init__.cpython-313.pyc": "no",
        "spaced/inner/thing.py": "",
        "_fast.cpython-313-x86_64-linux-gnu.so": "binary",
        "one.py": "",
        "bin/greet": "#!/home/me/python",
        "greeter-1.0.dist-info/METADATA": "Name: greeter",
        "greeter-1.0.dist-info/RECORD": "no",
        "greeter-1.0.dist-info/INSTALLER": "no",
        ".lock": "",
        "share/man/greet.1": "man",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = installed(tmp_path / "a"), installed(tmp_path / "b")
    os.utime(second / "one.py", (1, 1))
    (second / "one.py").chmod(0o755)
    (second / "greeter/__pycache__/more.cpython-311.pyc").write_text("no")
    packed = [pack(folder, tmp_path / f"{folder.name}.zip") for folder in (first, second)]
    assert packed[0] == packed[1]
    body = (tmp_path / "a.zip").read_bytes()
    assert packed[0] == (hashlib.sha256(body).hexdigest(), len(body))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [
            "_fast.cpython-313-x86_64-linux-gnu.so", "greeter-1.0.dist-info/METADATA",
            "greeter/__init__.py", "greeter/data/words.txt", "one.py", "share/man/greet.1",
            "spaced/inner/thing.py",
        ]  # fmt: skip
    assert modules_in(first) == ("_fast", "greeter", "one", "spaced")
    into = tmp_path / "out"
    into.mkdir()
    with (tmp_path / "a.zip").open("rb") as file:
        assert unpack(file, into) == sum(p.stat().st_size for p in into.rglob("*") if p.is_file())
    assert (into / "greeter/data/words.txt").read_text() == "words"
    assert (into / "one.py").stat().st_mode & 0o777 == 0o444


def test_what_is_too_large_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = installed(tmp_path / "a")
    for name, limit in (("PACKAGE_FILES", 3), ("PACKAGE_BYTES", 20), ("PACKAGE_ZIP_BYTES", 300)):
        with monkeypatch.context() as patch:
            patch.setattr(limits, name, limit)
            with pytest.raises(PackageTooLarge) as error:
                pack(folder, tmp_path / "a.zip")
            assert error.value.details["limit"] == limit


# -- what somebody else may have packed --------------------------------------------------------


def zipped(*rows: tuple[str, bytes], mode: int = 0o100644, comment: bytes = b"") -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in rows:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, body)
        archive.comment = comment
    return held.getvalue()


def bomb() -> bytes:
    return zipped(*((f"f{i}", bytes(50 * 1_048_576)) for i in range(5)))


def lying() -> bytes:
    """A file that says that it has one byte."""
    body = bytearray(zipped(("a.py", bytes(1_000_000))))
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = body.find(mark) + place
        body[at : at + 4] = struct.pack("<L", 1)
    return bytes(body)


def crowd() -> bytes:
    """A directory that says that it has more files than a package may."""
    body = bytearray(zipped(("a.py", b"")))
    at = body.rfind(b"PK\x05\x06")
    body[at + 8 : at + 12] = struct.pack("<HH", 60_000, 60_000)
    return bytes(body)


def damaged() -> bytes:
    body = bytearray(zipped(("a.py", os.urandom(2_000))))
    body[500:520] = bytes(20)
    return bytes(body)


def wide() -> bytes:
    """The end of a zip's directory in its 64-bit form, which could say anything."""
    body = zipped(("a.py", b"x"))
    return body[:-22] + b"PK\x06\x07" + bytes(16) + body[-22:]


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda: zipped(("../evil.py", b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("a/../../evil.py", b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("/etc/evil", b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("a\\..\\evil", b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("C:evil", b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("a//b", b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("./a", b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("folder/", b"")), PackageRefused, "bad name"),
        (lambda: zipped(("a" * 300, b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("/".join("a" * 40), b"x")), PackageRefused, "bad name"),
        (lambda: zipped(("link", b"/etc/passwd"), mode=0o120777), PackageRefused, "no plain file"),
        (lambda: zipped(("pipe", b""), mode=0o010644), PackageRefused, "no plain file"),
        (lambda: zipped(("a", b"x"), ("a/b", b"x")), PackageRefused, "a file and a folder"),
        (lambda: zipped(("a/b", b"x"), ("a", b"x")), PackageRefused, "a file and a folder"),
        (lambda: zipped(("a", b"x"), comment=b"more"), PackageRefused, "no zip"),
        (lambda: b"", PackageRefused, "no zip"),
        (lambda: b"PK" * 5_000, PackageRefused, "no zip"),
        (lambda: zipped(("a", b"x"))[40:], PackageRefused, "damaged|bad name|no plain"),
        (damaged, PackageRefused, "damaged"),
        (lying, PackageRefused, "damaged|longer"),
        (wide, PackageRefused, "64-bit"),
        (crowd, PackageTooLarge, "20,000"),
        (bomb, PackageTooLarge, "unpacked"),
    ],
)  # fmt: skip
def test_what_is_not_unpacked(
    make: Callable[[], bytes], kind: type[Exception], said: str, tmp_path: Path
) -> None:
    into = tmp_path / "deep" / "into"
    into.mkdir(parents=True)
    with pytest.raises(kind, match=said) as error:
        unpack(io.BytesIO(make()), into)
    assert type(error.value) is kind
    assert [p for p in tmp_path.rglob("*") if p.is_symlink() or "evil" in p.name] == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageRefused, match="twice"):
        unpack(io.BytesIO(zipped(("a", b"x"), ("a", b"y"))), tmp_path)


# -- kept unpacked ---------------------------------------------------------------------------


class Packed:
    """A package, and how often it was fetched."""

    def __init__(self, *rows: tuple[str, bytes]) -> None:
        self.body = zipped(*rows)
        self.sha256, self.fetched = hashlib.sha256(self.body).hexdigest(), 0

    @property
    def size(self) -> int:
        return len(self.body)

    def fetch(self, into: IO[bytes]) -> None:
        self.fetched += 1
        into.write(self.body)

    def use(self, kept: Unpacked) -> Path:
        with kept.held(self.sha256, self.size, self.fetch) as folder:
            return folder


@pytest.fixture
def one() -> Packed:
    return Packed(("one.py", b"ONE = 1\n"), ("deep/er/x.py", b""))


@pytest.fixture
def two() -> Packed:
    return Packed(("two.py", bytes(3_000)))


def left(root: Path) -> set[str]:
    return {entry.name for entry in root.iterdir() if not entry.name.endswith(".lock")}


def test_a_package_is_fetched_once(tmp_path: Path, one: Packed, two: Packed) -> None:
    kept = Unpacked(tmp_path / "kept")
    assert (one.use(kept) / "one.py").read_bytes() == b"ONE = 1\n"
    one.use(Unpacked(tmp_path / "kept"))
    two.use(kept)
    one.use(kept)
    assert (one.fetched, two.fetched) == (1, 1)
    assert left(tmp_path / "kept") == {one.sha256, two.sha256}
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


def test_another_package_than_its_name_says_leaves_nothing(tmp_path: Path, one: Packed) -> None:
    kept = Unpacked(tmp_path / "kept")
    for sha256, size in (("0" * 64, one.size), (one.sha256, one.size + 1)):
        with (
            pytest.raises(PackageRefused, match="hash"),
            kept.held(sha256, size, one.fetch),
        ):
            pytest.fail("it was given out")
    assert left(tmp_path / "kept") == set()


def test_those_used_least_recently_go_first_but_none_in_use(
    tmp_path: Path, one: Packed, two: Packed
) -> None:
    kept = Unpacked(tmp_path / "kept", most=1_000)
    with kept.held(one.sha256, one.size, one.fetch) as folder:
        two.use(kept)
        assert (folder / "one.py").exists()
    third = Packed(("three.py", bytes(2_000)))
    third.use(kept)
    assert left(tmp_path / "kept") == {third.sha256}


def test_somebody_elses_folder_is_not_used(tmp_path: Path, one: Packed) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "kept").symlink_to(tmp_path / "theirs")
    with pytest.raises(PackageRefused, match="somebody else's"):
        one.use(Unpacked(tmp_path / "kept"))
    assert list((tmp_path / "theirs").iterdir()) == []


def touch(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"ONE = 2\n")
    path.chmod(0o444)


def rewrite_in_place(folder: Path) -> None:
    found = (folder / "one.py").stat()
    touch(folder / "one.py")
    os.utime(folder / "one.py", ns=(found.st_atime_ns, found.st_mtime_ns))


def replace_folder(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.mkdir()
    (folder / "one.py").write_bytes(b"ONE = 2\n")


@pytest.mark.parametrize(
    "harm",
    [
        rewrite_in_place,
        replace_folder,
        lambda folder: (folder / "new.py").write_text("x"),
        lambda folder: (folder / "deep/er/x.py").unlink(),
        lambda folder: (folder / "deep").chmod(0o000),
        lambda folder: folder.parent.chmod(0o000),
        lambda folder: (folder / "one.py").rename(folder / "deep" / "one.py"),
    ],
)
def test_alone_what_code_touched_is_made_anew(
    harm: Callable[[Path], None], tmp_path: Path, one: Packed
) -> None:
    kept = Unpacked(tmp_path / "kept", alone=True)
    one.use(kept)
    one.use(kept)
    assert one.fetched == 1
    harm(tmp_path / "kept" / one.sha256)
    folder = one.use(kept)
    assert (folder / "one.py").read_bytes() == b"ONE = 1\n"
    assert {p.name for p in folder.iterdir()} == {"one.py", "deep"}
    assert left(tmp_path / "kept") == {one.sha256}
    # What only another process has made, as code could, is not believed either.
    assert one.fetched == (1 if harm.__code__.co_names == ("parent", "chmod") else 2)
    before = one.fetched
    one.use(Unpacked(tmp_path / "kept", alone=True))
    assert one.fetched == before + 1


def test_alone_there_is_one_package_at_a_time(tmp_path: Path, one: Packed, two: Packed) -> None:
    kept = Unpacked(tmp_path / "kept", alone=True)
    one.use(kept)
    two.use(kept)
    assert left(tmp_path / "kept") == {two.sha256}
    kept.clear()
    assert left(tmp_path / "kept") == set()
    two.use(kept)
    assert two.fetched == 2
