"""Make the pictures of docs/: reports on the demo's headlines, seen in the system's Chromium.

    make screenshots

Needs the `dev` extra and a Chromium; writes docs/images/*.png. Times and rates in the
pictures are those of the machine that made them.
"""

import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
COMMAND = Path(sys.executable).parent / "finsent-batch"
PARTS = {
    "run": {
        "top": "header",
        "sentiment": "#sentiment",
        "drift": "#drift",
        "reuse": "#reuse-section",
    },
    "evaluation": {"classes": "#classes", "confidence": "#confidence"},
}


def make_reports(folder: Path) -> None:
    """Score a feed that grows for three nights, as feeds do, and evaluate on labelled rows."""

    def finsent(*arguments: str) -> None:
        subprocess.run([COMMAND, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    with (ROOT / "demo" / "headlines.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    for last in ("2026-03-02", "2026-03-03", "2026-03-04"):
        with (folder / "feed.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *(row for row in rows if row[0][:10] <= last)])
        finsent("score", "feed.csv", "-o", "feed.scored.parquet")
    finsent("report", "-o", "run.html", "--headlines", "5", "--gate", "psi<0.5")
    shutil.copy(ROOT / "demo" / "labelled.csv", folder)
    finsent("evaluate", "--data", "labelled.csv", "-o", "evaluation")
    (folder / "evaluation" / "report.html").rename(folder / "evaluation.html")


def save(png: bytes, name: str) -> None:
    """Keep a picture small: 64 colors are enough for text and charts."""
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.save(IMAGES / f"{name}.png", optimize=True)


def photograph(browser: Any, folder: Path) -> None:
    """Take the parts of each report at desktop width, and the run report's top on a telephone."""
    for report, parts in PARTS.items():
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.goto((folder / f"{report}.html").as_uri())
        for part, selector in parts.items():
            box = page.locator(selector).first.bounding_box()
            around = {
                "x": 0,
                "y": max(0, box["y"] - 10),
                "width": 1000,
                "height": box["height"] + 20,
            }
            save(page.screenshot(full_page=True, clip=around), f"{report}-{part}")
        page.close()
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto((folder / "run.html").as_uri())
    page.evaluate("document.querySelector('#sentiment').scrollIntoView()")
    save(page.screenshot(), "run-telephone")
    page.close()


def main() -> None:
    """Make everything anew."""
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    )
    IMAGES.mkdir(exist_ok=True)
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        make_reports(Path(name))
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        photograph(browser, Path(name))
        browser.close()


if __name__ == "__main__":
    main()
