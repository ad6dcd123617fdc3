"""Hook of mkdocs: pages that live outside ``docs/``, and links that hold on GitHub and in the site.

Every Markdown file of the repository is a page, at its own path; ``docs/x.md`` is ``x.md``. A file
of code that a page links to becomes a page too, below ``source/``, and so does a folder. Links are
written for GitHub, relative to the file that has them, and rewritten here.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath
from typing import Any

from api import PACKAGES  # mkdocs lets a hook import its neighbours
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from navigation import ROOT, expand, pages, tracked
from pymdownx.slugs import slugify

SOURCE = "source"
#: Files that are copied as they are; others are shown as code.
MEDIA = {".png", ".jpg", ".jpeg", ".svg", ".gif", ".html"}
LANGUAGES = {".py": "python", ".sh": "bash", ".yml": "yaml", ".cpp": "cpp", ".cu": "cpp",
             ".h": "cpp", ".json": "json", ".toml": "toml"}  # fmt: skip
_FENCE = re.compile(r"(^ *(`{3,})[^\n]*\n.*?^ *\2 *$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\(|\bsrc=\")([^)\s\"]+)")
_ITEM = re.compile(r"^( *)(?:[-*]|\d+\.) ")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings GitHub's anchors, and write the patterns of the navigation out."""
    config.mdx_configs["toc"] = {"slugify": slugify(case="lower"), "permalink": True}
    config.nav = expand(config.nav or [], tuple(f"api/{name}.md" for name in PACKAGES))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside ``docs/``, and all that the pages link to."""
    for uri, path in pages().items():
        if uri == path:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    for path in pages().values():
        for target in links((ROOT / path).read_text("utf-8"), path):
            uri = site_path(target)
            if target not in tracked() and not (ROOT / target).is_dir():
                continue  # mkdocs says that it is missing
            if files.get_file_from_path(uri) is None:
                files.append(_linked(target, uri, config))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Rewrite the links of a page, and set lists off as this Markdown wants them."""
    uri = page.file.src_uri
    if uri not in pages():
        return markdown
    here = pages()[uri]
    parts = _FENCE.split(markdown)
    # Of each fence, split returns the text and its ticks; the ticks are of no use.
    texts = [part for index, part in enumerate(parts) if index % 3 != 2]
    for index in range(0, len(texts), 2):
        texts[index] = _LINK.sub(lambda match: _rewritten(match, here, uri), lists(texts[index]))
    return "".join(texts)


def site_path(path: str) -> str:
    """Return the page or file of the site for a path of the repository."""
    if path.startswith("docs/") and path.endswith((".md", *MEDIA)):
        return path.removeprefix("docs/")
    if PurePosixPath(path).suffix in (".md", *MEDIA):
        return path
    return f"{SOURCE}/{path}.md"


def links(markdown: str, here: str) -> set[str]:
    """Return the paths of the repository that a page links to."""
    outside = "".join(part for i, part in enumerate(_FENCE.split(markdown)) if i % 3 == 0)
    found = {_target(match[2], here) for match in _LINK.finditer(outside)}
    return {target for target in found if target}


def lists(text: str) -> str:
    """Put an empty line before a list that follows text, and indent its parts by four."""
    lines: list[str] = []
    for line in text.split("\n"):
        item = _ITEM.match(line)
        before = lines[-1] if lines else ""
        follows_text = before.strip() and not before.startswith(" ") and not _ITEM.match(before)
        if item and not item[1] and follows_text:
            lines.append("")
        lines.append(re.sub(r"^ {2,3}(?=(?:[-*]|\d+\.) )", "    ", line))
    return "\n".join(lines)


def _target(link: str, here: str) -> str:
    if re.match(r"[a-z]+:|#", link):
        return ""
    path = link.partition("#")[0]
    return posixpath.normpath(posixpath.join(posixpath.dirname(here), path))


def _rewritten(match: re.Match[str], here: str, uri: str) -> str:
    target = _target(match[2], here)
    if not target:
        return match[0]
    anchor = match[2].partition("#")[1:]
    path = posixpath.relpath(site_path(target), posixpath.dirname(uri) or ".")
    return match[1] + path + "".join(anchor)


def _linked(path: str, uri: str, config: MkDocsConfig) -> File:
    """Return what a page links to: a picture, a file of code as a page, or a folder's list."""
    source = ROOT / path
    if source.suffix in MEDIA:
        return File.generated(config, uri, abs_src_path=str(source))
    if source.is_dir():
        inside = {name.removeprefix(f"{path}/").split("/")[0] for name in tracked()
                  if name.startswith(f"{path}/")}  # fmt: skip
        body = "\n".join(f"- `{name}`" for name in sorted(inside))
    else:
        language = LANGUAGES.get(source.suffix, "text")
        body = f"``````{language}\n{source.read_text('utf-8')}\n``````"
    return File.generated(config, uri, content=f"# {path}\n\n{body}\n")
