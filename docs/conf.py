"""Sphinx configuration; `make docs` builds with warnings as errors."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from generate_opset import generate  # noqa: E402  (the line above makes it importable)

project = "opmux"
author = "The opmux authors"
copyright = "The opmux authors; Apache-2.0"
version = release = installed_version("opmux")

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True
highlight_language = "none"  # of blocks that name none: trees of files, output

html_theme = "furo"
html_title = f"opmux {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", lambda _: generate(HERE / "opset"))
