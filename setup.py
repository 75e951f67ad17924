"""What a wheel holds that pyproject.toml cannot say: passes/ becomes upscale_onnx/passes/.

No automatic discovery covers a folder that changes its name on the way, and a list typed by hand forgets new packages.
Archives have the same bytes for the same sources: setuptools sees to that in wheels, not in archives of sources.
"""

import gzip
import os
import shutil
import tarfile
import time
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

PASSES = "upscale_onnx.passes"


class BuildPackage(build_py):
    """Builds the package from an empty folder, without the module that stands for passes/ in a checkout."""

    def run(self) -> None:
        """Build. What an earlier build left behind would get into the wheel, deleted modules too."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """(package, module, file) of each module that is installed."""
        modules: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return [found for found in modules if f"{found[0]}.{found[1]}" != PASSES]


class BuildSources(sdist):
    """Archives what a wheel is built from."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Leave out the tests: by default some of them are taken, which are of no use without the others."""
        super().make_release_tree(base_dir, [name for name in files if Path(name).parts[0] != "tests"])

    def make_archive(self, base_name: str, kind: str, root_dir: None = None, base_dir: str = "", **owners: None) -> str:
        """The path of a .tar.gz, whose files have the time $SOURCE_DATE_EPOCH and no owners, in alphabetical order."""
        moment = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def entry(info: tarfile.TarInfo) -> tarfile.TarInfo:
            info.mtime, info.uid, info.gid, info.uname, info.gname = moment, 0, 0, "", ""
            info.mode = 0o755 if info.isdir() else 0o644
            return info

        path = Path(f"{base_name}.tar.gz")
        with (
            path.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=moment) as packed,
            tarfile.open(mode="w", fileobj=packed) as archive,
        ):
            archive.add(base_dir, filter=entry)
        return str(path)


setup(
    packages=[
        *find_packages(include=["upscale_onnx", "upscale_onnx.*"]),
        PASSES,
        *(f"{PASSES}.{name}" for name in find_packages("passes")),
    ],
    package_dir={PASSES: "passes"},
    cmdclass={"build_py": BuildPackage, "sdist": BuildSources},
)
