"""README and docs/: short, linked, complete, and true where a test can tell."""

import json
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import click
import jsonschema
import polars as pl
import pytest
from finsent_batch.jobs.cli import cli

from finsent_batch.metrics.figures import FIGURES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
README = (ROOT / "README.md").read_text("utf-8")
BENCHMARKS = (DOCS / "benchmarks.md").read_text("utf-8")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    """Return the link targets of a page that are not on the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    return [link for link in found if not link.startswith(("http:", "https:", "mailto:"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_readme_is_one_page():
    assert len(README.splitlines()) <= 150


def test_the_readme_leads_to_every_page():
    """Over at most two links."""
    seen, waiting = set(), [(ROOT / "README.md", 0)]
    while waiting:
        page, far = waiting.pop(0)
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        if far < 2:
            waiting += [
                ((page.parent / link.split("#")[0]).resolve(), far + 1) for link in links(page)
            ]
    assert set(DOCS.glob("*.md")) - seen == set()


def tables(text: str) -> list[tuple[str, str]]:
    """Return (heading, text since the heading or the table before it) of each table."""
    found, heading, above, inside = [], "", "", False
    for line in text.splitlines():
        if line.startswith("#"):
            heading, above = line, ""
        is_row = line.startswith("|")
        if is_row and not inside:
            found.append((heading, above))
        if not is_row:
            above += line + "\n"
        inside = is_row
    return found


def test_every_table_of_figures_names_its_command():
    assert len(tables(BENCHMARKS)) > 10
    for heading, above in tables(BENCHMARKS):
        named = re.findall(r"`(?:python benchmarks/\w+\.py|finsent-batch )", above)
        assert named or "arithmetic" in heading, heading


def test_the_benchmarks_on_the_page_exist_and_every_script_is_listed():
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    named = set(re.findall(r"benchmarks/(\w+\.py)", BENCHMARKS + README))
    assert named <= scripts
    listed = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    assert {name for name in scripts if f"`{name}" not in listed} == set()


def test_the_readme_s_figures_are_the_benchmarks():
    section = README.split("## How fast and how accurate")[1].split("\n## ")[0]
    cells = [line.rsplit(" | ", 1)[1] for line in section.splitlines() if line.startswith("| ")]
    figures = re.findall(r"\d[\d,]*\.?\d*", " ".join(cells[1:]))
    assert len(figures) >= 6
    for figure in figures:
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", BENCHMARKS), figure


def test_the_readme_s_totals_of_faults_are_the_tables():
    page = (DOCS / "faults.md").read_text("utf-8").split("## The input")[0]
    totals = [line.strip("| ").split(" | ") for line in page.splitlines() if "| all |" in line]
    told = re.search(r"([\d,]+) kills and ([\d,]+) faults", README)
    assert told is not None
    assert told.groups() == (totals[0][1], totals[1][3])
    wrong = [totals[0][2:], totals[1][4:], totals[2][5:] if len(totals) > 2 else []]
    assert {figure for figures in wrong for figure in figures} == {"0"}


def test_the_readme_s_rows_are_the_demo_s(run):
    done = run("score", ROOT / "demo" / "headlines.csv", "-o", "demo.parquet", "--model", "mini")
    assert done.code == 0, done.err
    columns = ("headline", "sentiment", "p_negative", "p_neutral", "p_positive", "score_status")
    scored = pl.read_parquet("demo.parquet").select(columns).rows()
    table = README.split("| headline | sentiment |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table]
    assert len(rows) == 6
    by_headline = {row[0] or "": row for row in scored}
    for headline, sentiment, *numbers, status in rows:
        found = by_headline[headline]
        assert (found[1] or "", found[5]) == (sentiment, status)
        for shown, number in zip(numbers, found[2:5], strict=True):
            # Arithmetic differs a little between CPUs.
            assert number is None if shown == "" else abs(float(shown) - number) < 0.02


def test_the_architecture_page_shows_every_room_and_no_path_that_is_gone():
    page = (DOCS / "architecture.md").read_text("utf-8")
    library = ROOT / "finsent_batch"
    rooms = {f"{folder.parent.name}/" for folder in library.glob("*/__init__.py")}
    modules = {file.name for file in library.glob("*.py")} - {"__init__.py"}
    assert {
        name for name in rooms | modules if f" {name} " not in page.replace("\n", " \n")
    } == set()
    gone = [path for path in re.findall(r"`(\w+/[\w./]+)`", page) if not (ROOT / path).exists()]
    assert gone == []


# ---- docs/cli.md


def the_script():
    spec = spec_from_file_location("make_cli", DOCS / "make_cli.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_help_prints():
    assert (DOCS / "cli.md").read_text("utf-8") == the_script().page(), "run: make docs-cli"


def options(command: click.Command, path: str = "") -> list[tuple[str, str]]:
    """Return (command, option) for every option there is."""
    found = [
        (path, name)
        for option in command.params
        for name in (*option.opts, *option.secondary_opts)
        if name[0] == "-"
    ]
    for name, child in (command.commands if isinstance(command, click.Group) else {}).items():
        found += options(child, f"{path} {name}".strip())
    return found


def test_every_command_and_option_is_on_the_page():
    sections = re.split(r"^## ", (DOCS / "cli.md").read_text("utf-8"), flags=re.M)[1:]
    by_command = {section.split("\n", 1)[0]: section for section in sections}
    for command, option in options(cli):
        section = by_command[command or "finsent-batch"]
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", section), (command, option)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_named_on_a_page_exist(page):
    text = page.read_text("utf-8")
    known = {name for _, name in options(cli)} | {"--help"}
    for line in re.findall(r"`([^`\n]+)`|^\$ (.*)$", text, flags=re.M):
        code = "".join(line)
        if re.match(r"(finsent-batch|score|query|report|prepare|train|evaluate|compare)\b", code):
            code = re.sub(r"\"[^\"]*\"|'[^']*'", "", code).split(" | ")[0].split("#")[0]
            assert set(re.findall(r"(?<=\s)--[a-z][a-z-]+", f" {code}")) <= known, code


# ---- the site, the schema, the citation


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install 'finsent-batch[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    assert (site / "search" / "search_index.js").is_file()
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"?(https?:[^\s\">]+)",
            page.read_text("utf-8"),
        )
        assert loaded == [], page


def test_a_summary_is_what_its_schema_says(score, feed):
    from finsent_batch.pipeline.summary import Summary

    schema = json.loads((DOCS / "summary.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == set(schema["required"]) == set(Summary().to_dict())
    for arguments in ((), (), ("--min-confidence", "0.9")):
        jsonschema.validate(score("feed.parquet", *arguments), schema)


def test_a_failed_run_s_summary_is_what_the_schema_says(run, tmp_path):
    (tmp_path / "feed.csv").write_text("a,b\n1,2\n")
    run("score", "feed.csv", "--notify-command", "tee told.json")
    told = json.loads((tmp_path / "told.json").read_text("utf-8"))
    assert told["status"] == "failed"
    jsonschema.validate(told, json.loads((DOCS / "summary.schema.json").read_text("utf-8")))


def test_every_figure_that_gates_can_name_is_described():
    described = re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "gates.md").read_text("utf-8"), re.M)
    assert described == list(FIGURES.items())


def test_the_citation_names_this_version():
    import finsent_batch

    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {finsent_batch.__version__}\n" in citation


def test_supported_versions_of_python_are_those_of_the_nox_recipe():
    classified = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    recipe = re.search(r"python=\[(.*?)\]", (ROOT / "noxfile.py").read_text("utf-8"))
    assert recipe is not None
    assert re.findall(r"[\d.]+", recipe[1]) == classified
