"""What a wheel holds that pyproject.toml cannot say: passes/ becomes upscale_onnx/passes/.

No automatic discovery covers a folder that changes its name on the way, and a list typed by hand forgets new packages.
"""

import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

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


setup(
    packages=[
        *find_packages(include=["upscale_onnx", "upscale_onnx.*"]),
        PASSES,
        *(f"{PASSES}.{name}" for name in find_packages("passes")),
    ],
    package_dir={PASSES: "passes"},
    cmdclass={"build_py": BuildPackage},
)
