"""MkDocs hooks: pages at the top of the repository are pages of the site, too.

README.md becomes the front page. Links are written so that they work in the repository;
here they lose the `docs/` or `../` that the site does not have.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
}
LINK_TO_PAGE = re.compile(r"\]\((?:docs/|\.\./(?=[A-Z]+\.md))")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the repository's own pages."""
    for source, page in PAGES.items():
        content = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Make links between pages relative to the site's root, where all pages are."""
    return LINK_TO_PAGE.sub("](", markdown).replace("](README.md", "](index.md")
