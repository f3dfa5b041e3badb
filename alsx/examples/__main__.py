"""List the stories, each with the first line of what it says of itself."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path

from alsx import _cli, examples


def stories() -> list[tuple[str, str]]:
    """Return the name and the first line of each story, without importing it."""
    told = []
    for module in pkgutil.iter_modules(examples.__path__):
        if not module.name.startswith("_"):
            source = Path(examples.__path__[0], f"{module.name}.py").read_text(encoding="utf-8")
            told.append((module.name, (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]))
    return told


def main() -> None:
    """Print the list of stories."""
    _cli.table(["command", "story"], [[f"python -m alsx.examples.{name}", line] for name, line in stories()])
    print("\nEach explains itself with --help.")


if __name__ == "__main__":
    _cli.run(main, "python -m alsx.examples")
