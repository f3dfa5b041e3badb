"""What the code of a page prints, written into the page: ``python docs/_ext/outputs.py docs/start.md ...`` (default: all pages).

For pages that are new or whose models have changed. Only what the tests would find wrong is replaced; read what has changed before
it is kept. An error that is expected has a ``Traceback`` in the page already, and an unexpected one is told and left alone.
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]


def load_tests() -> Any:
    """Return the module of the tests, which knows what the code of a page needs and how outputs are compared."""
    spec = importlib.util.spec_from_file_location("test_docs", DOCS.parent / "tests" / "test_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Runner(doctest.DocTestRunner):
    """Runs examples and keeps what was printed where it was not what is expected."""

    def __init__(self, options: int) -> None:
        super().__init__(optionflags=options, verbose=False)
        self.printed: dict[int, str] = {}

    def report_start(self, *_: Any) -> None:
        """Say nothing."""

    def report_failure(self, out: Any, test: Any, example: Any, got: str) -> None:
        """Keep what was printed."""
        self.printed[example.lineno] = got

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, exc_info: Any) -> None:
        """Keep an error where one is expected, and tell of others."""
        if example.want.startswith("Traceback"):
            kind, error, _ = exc_info
            self.printed[example.lineno] = f"Traceback (most recent call last):\n    ...\n{kind.__name__}: {error}"
        else:
            text = "".join(traceback.format_exception(*exc_info))
            print(f"{test.name}, line {example.lineno + 1}:\n{text}", file=sys.stderr)


def rewrite(page: Path, tests: Any) -> int:
    """Put what the code of a page prints into it; returns how many outputs have changed."""
    text = page.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(tests.without_fences(text), {}, tests.name(page), str(page), 0)
    runner = Runner(tests.OPTIONS)
    away = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            if tests.name(page) in tests.NEEDS:
                tests.NEEDS[tests.name(page)](Path(folder))
            runner.run(test, clear_globs=False)
        finally:
            os.chdir(away)
    lines = text.split("\n")
    for example in reversed(test.examples):
        if example.lineno in runner.printed:
            first = example.lineno + example.source.count("\n")
            printed = runner.printed[example.lineno].rstrip("\n").split("\n")
            lines[first : first + example.want.count("\n")] = [line or "<BLANKLINE>" for line in printed]
            print(f"{tests.name(page)}, line {first + 1}: {runner.printed[example.lineno].rstrip()}")
    page.write_text("\n".join(lines), encoding="utf-8")
    return len(runner.printed)


if __name__ == "__main__":
    of_pages = load_tests()
    os.environ["COLUMNS"] = "100"
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or of_pages.CODE
    print(f"{sum(rewrite(page, of_pages) for page in chosen)} outputs changed")
