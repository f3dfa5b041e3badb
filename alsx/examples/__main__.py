"""List the examples, each with the first line of its docstring."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path

from alsx import _cli, examples


def list_examples() -> list[tuple[str, str]]:
    """Return the name and the first line of each example, without importing it."""
    found = []
    for module in pkgutil.iter_modules(examples.__path__):
        if not module.name.startswith("_"):
            source = Path(examples.__path__[0], f"{module.name}.py").read_text(encoding="utf-8")
            found.append((module.name, (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]))
    return found


def main() -> None:
    """Print the list of examples."""
    rows = [[f"python -m alsx.examples.{name}", line] for name, line in list_examples()]
    _cli.table(["command", "what it shows"], rows)
    print("\nEach explains itself with --help.")


if __name__ == "__main__":
    _cli.run(main, "python -m alsx.examples")
