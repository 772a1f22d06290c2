"""What MiniLab's definitions say, computed from the shown fields by other means than the tasks'."""

import importlib
import pathlib

CHECKERS = {
    name: checker
    for path in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py"))
    for name, checker in importlib.import_module(f"{__name__}.{path.stem}").CHECKERS.items()
}
