"""MkDocs hooks: generated parts of pages, equations as MathML, and no request to the network.

    <!-- generated: cli -->     in a page: replaced by `docs_pages.PAGES["cli"]()`, with the line
    *...*                       behind it, which is for readers of the page that is not built
    $`x + s`$                   an equation inside a sentence
    ```math                     an equation of its own

Equations are LaTeX. They become MathML while the site is built, so that no page needs a script or a
font from elsewhere.
"""

from __future__ import annotations

import html
import logging
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
for folder in (ROOT, ROOT / "scripts"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import docs_pages  # noqa: E402
from latex2mathml.converter import convert  # noqa: E402

log = logging.getLogger("mkdocs.hooks.docs")
# What a browser fetches by itself when it opens a page; a link to follow is none of these.
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(https?:|//)[^\s>]*"
    r"|<link\b(?![^>]*rel=[\"']?(?:canonical|prev|next|alternate))[^>]*\bhref=[\"']?(https?:|//)"
)


def on_config(config: Any, **_: Any) -> Any:
    """Adds the fence for equations."""
    fence = {"name": "math", "class": "equation", "format": fence_math}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Puts in what is generated."""

    def generated(match: re.Match[str]) -> str:
        return docs_pages.PAGES[match[1]]()

    return docs_pages.PLACE.sub(generated, markdown)


def fence_math(source: str, *_: Any, **__: Any) -> str:
    """An equation of its own, for `pymdownx.superfences`."""
    return f'<div class="equation">{convert(source.strip(), display="block")}</div>'


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Equations inside sentences, `$<code>...</code>$`; and the page's name, for styles."""

    def inline(match: re.Match[str]) -> str:
        return str(convert(html.unescape(match[1])))

    content = re.sub(r"\$<code>(.*?)</code>\$", inline, content)
    return f'<div data-page="{page.file.src_uri}">{content}</div>'


def on_post_build(config: Any, **_: Any) -> None:
    """Warns, which fails a strict build, about pages that fetch something from the network."""
    for path in Path(config.site_dir).rglob("*.html"):
        if path.is_relative_to(Path(config.site_dir) / "results/data"):
            continue  # a run's report: one file, checked by its own tests
        for match in FETCHED.finditer(path.read_text()):
            log.warning("%s fetches %s", path.relative_to(config.site_dir), match[0])
