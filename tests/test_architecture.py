"""The house's rules: rooms import only from lower floors; docs/architecture.md has the map."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import finsent_batch

ROOT = Path(__file__).parent.parent
FLOORS = (
    {"__main__"},
    {"jobs"},
    {"__init__"},
    {"api", "doctor", "query_api", "sql_functions"},
    {"pipeline", "training", "evaluation"},
    {"scorers", "reports"},
    {"reviews"},
    {"models", "queries"},
    {"store", "labelled"},
    {"io", "metrics"},
    {"frames", "hardware", "optional_imports", "progress", "python_messages"},
    {"arrays", "config", "errors", "failpoints", "headlines", "labels", "train_config", "version"},
    {"settings", "visible", "wording"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
LARGEST_FOLDER = 20
LONGEST_FILE = 250
LONGEST_FUNCTION = 60


def sources() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield every source file with its dotted name's parts below `finsent_batch`."""
    for folder, prefix in (("finsent_batch", ()), ("jobs", ("jobs",))):
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield file, (*prefix, *file.relative_to(ROOT / folder).with_suffix("").parts)


def imported_rooms(tree: ast.AST, parts: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (line, room) for each import of the library, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == "finsent_batch":
                    yield node.lineno, rest[0] if rest else "__init__"
        if not isinstance(node, ast.ImportFrom):
            continue
        target = node.module.split(".") if node.module else []
        if node.level:
            target = [*parts[: len(parts) - node.level], *target]
        elif target[0] == "finsent_batch":
            target = target[1:]
        else:
            continue
        names = [target[0]] if target else [alias.name for alias in node.names]
        yield from ((node.lineno, name if name in FLOOR else "__init__") for name in names)


def upward(tree: ast.AST, parts: tuple[str, ...]) -> list[str]:
    return [
        f"{'/'.join(parts)}:{line} imports {room}"
        for line, room in imported_rooms(tree, parts)
        if room != parts[0] and FLOOR[room] <= FLOOR[parts[0]]
    ]


def test_rooms_import_only_downward() -> None:
    wrong = [
        found
        for file, parts in sources()
        for found in upward(ast.parse(file.read_text("utf-8")), parts)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "code", ["from ..pipeline.score import score", "import finsent_batch.pipeline.score"]
)
def test_an_import_upward_or_sideways_is_found(code: str) -> None:
    assert upward(ast.parse(code), ("store", "views"))
    assert upward(ast.parse(code), ("training", "train"))
    assert not upward(ast.parse(code), ("pipeline", "plan"))
    assert not upward(ast.parse("from ..errors import ConfigError"), ("store", "views"))


def test_no_public_name_is_hidden_by_a_module() -> None:
    assert not set(finsent_batch.__all__) & set(FLOOR)


def test_folders_files_and_functions_stay_small() -> None:
    wrong = []
    for folder in {file.parent for file, _ in sources()}:
        modules = [f.name for f in folder.glob("*.py") if not f.name.startswith("__")]
        if len(modules) > LARGEST_FOLDER:
            wrong.append(f"{folder.relative_to(ROOT)}: {len(modules)} modules")
    for file, _ in sources():
        text = file.read_text("utf-8")
        if len(text.splitlines()) > LONGEST_FILE:
            wrong.append(f"{file.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    wrong.append(f"{file.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert wrong == []


def test_a_rooms_init_is_one_line_of_docstring() -> None:
    rooms = [f for f, parts in sources() if parts[-1] == "__init__" and len(parts) > 1]
    assert len(rooms) >= 14
    for file in rooms:
        tree = ast.parse(file.read_text("utf-8"))
        assert len(tree.body) == 1, file
        docstring = ast.get_docstring(tree)
        assert docstring, file
        assert "\n" not in docstring, file


def test_every_module_says_what_it_is() -> None:
    assert [f for f, _ in sources() if not ast.get_docstring(ast.parse(f.read_text("utf-8")))] == []


def test_importing_the_package_and_its_rooms_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'duckdb', 'polars', 'pyarrow', 'numpy', 'ray', 'peft'}"
    rooms = [p.name for p in (ROOT / "finsent_batch").iterdir() if (p / "__init__.py").exists()]
    imports = [f"import finsent_batch.{room}" for room in rooms]
    shown = f"print(sorted({heavy} & set(sys.modules)))"
    program = "; ".join(["import sys", *imports, shown])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
