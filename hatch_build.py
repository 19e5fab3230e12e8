"""Compiles asynclog/*.c into the wheel, where there is a C compiler; elsewhere their twins in Python do.

ASYNCLOG_COMPILE=0 builds without it, ASYNCLOG_COMPILE=1 fails when it can't be compiled (for wheels to publish).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ExtensionHook(BuildHookInterface[Any]):
    """An editable install has the extension in the tree, a wheel takes it from where it was compiled."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what belongs into the wheel."""
        wanted = os.environ.get("ASYNCLOG_COMPILE", "")
        if self.target_name != "wheel" or wanted == "0":
            return
        self._scratch = Path(tempfile.mkdtemp(prefix="asynclog-build-"))
        try:
            built = _compile(Path(self.root), self._scratch)
        except Exception as error:
            if wanted == "1":
                raise
            self.app.display_warning(f"log() is not compiled, its Python twin is slower: {error}")
            return
        if version == "editable":
            for path in built:
                shutil.copy2(path, Path(self.root, "asynclog", path.name))
            return
        build_data["force_include"].update({str(path): f"asynclog/{path.name}" for path in built})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - the interface's
        """Remove what was compiled, once it is in the wheel."""
        if hasattr(self, "_scratch"):
            shutil.rmtree(self._scratch, ignore_errors=True)


def _compile(root: Path, scratch: Path) -> list[Path]:
    """The extensions' paths. Raises what setuptools does when there is no compiler, or no Python.h."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    sources = sorted(root.glob("asynclog/*.c"))
    extensions = [Extension(f"asynclog.{path.stem}", [str(path)], extra_compile_args=["-O2"]) for path in sources]
    command = build_ext(Distribution({"name": "asynclogd", "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(scratch), str(scratch / "temp")
    command.ensure_finalized()
    command.run()
    return [Path(command.get_ext_fullpath(extension.name)) for extension in extensions]
