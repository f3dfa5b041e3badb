"""Ctrl-C while a command is being started.

``python -m alsx`` imports this package, and with it NumPy, SciPy and scikit-learn, before the command line can catch
anything. An interrupt in that second would show a traceback from the middle of somebody's library. So this module is the
first that the package imports, and importing it is enough.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def exit_at_once(number: int, frame: Any) -> None:
    """Leave with the message and the exit code of an interrupted command; nothing has been written yet."""
    os.write(2, b"interrupted\n")
    os._exit(130)


def is_command_starting() -> bool:
    """Return whether Python is looking for a module of this package that it was told to run by ``-m``."""
    # While it looks, the first argument is "-m" itself, and what follows are the arguments of the module.
    if sys.argv[:1] != ["-m"] or len(sys.orig_argv) < len(sys.argv):
        return False
    module = sys.orig_argv[-len(sys.argv)]
    return module.removeprefix("-m").partition(".")[0] == "alsx"


def exit_while_starting() -> None:
    """Let an interrupt end the process quietly, if a command is starting and interrupts are not ignored."""
    if is_command_starting() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, exit_at_once)


def ignore_from_now_on() -> None:
    """Let a second interrupt not disturb what an interrupted command still has to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def raise_from_now_on() -> None:
    """Let an interrupt be a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is exit_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


exit_while_starting()
