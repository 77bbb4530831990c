"""Write the opset reference, docs/opset/*.md, from the op declarations; called at the start of every build."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from pathlib import Path

GENERATOR = "opmux.opset.docs"
EMPTY = "The declarations of this version bring no generated reference."


def generate(directory: Path) -> None:
    """Replace `directory` by what `opmux.opset.docs.write(directory)` writes: one page per family of ops.

    An `index.md` that lists the pages is added unless the generator wrote its own.
    """
    shutil.rmtree(directory, ignore_errors=True)  # a page of an op that is gone would stay in the build
    directory.mkdir(parents=True)
    if importlib.util.find_spec(GENERATOR) is not None:
        importlib.import_module(GENERATOR).write(directory)
    index = directory / "index.md"
    if not index.exists():
        pages = sorted(page.stem for page in directory.glob("*.md"))
        body = "\n".join(["```{toctree}", ":maxdepth: 1", "", *pages, "```"]) if pages else EMPTY
        index.write_text(f"# Opset reference\n\n{body}\n", encoding="utf-8")
