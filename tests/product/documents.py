"""What README and docs print for readers to type: commands and blocks of Python, page by page."""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGES", "ROOT", "Block", "Printed", "blocks", "commands", "python_blocks"]

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md"]
PAGES += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
_PROGRAMS = ("narrows", "python", "bash")


class Block(NamedTuple):
    """A block: fenced, with its language ("text" without one), or indented, which is "sh"."""

    page: str
    line: int
    language: str
    text: str


class Printed(NamedTuple):
    """One command, where it stands, and whether alone in a block or within a sentence."""

    page: str
    line: int
    text: str
    inline: bool

    def __str__(self) -> str:
        """As a name of a test."""
        return f"{self.page}:{self.line} {self.text}"


def blocks(page: str) -> list[Block]:
    """All blocks of code of a page, in order."""
    lines, found, start = (ROOT / page).read_text().splitlines(), [], 0
    while start < len(lines):
        fence = re.fullmatch(r"```(\w*)", lines[start])
        indented = lines[start].startswith("    ") and not lines[start - 1].strip()
        end = start + 1
        if fence:
            while lines[end] != "```":
                end += 1
            text = lines[start + 1 : end]
            found.append(Block(page, start + 2, fence[1] or "text", "\n".join(text)))
        elif indented:
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            text = [line[4:] for line in lines[start:end]]
            found.append(Block(page, start + 1, "sh", "\n".join(text)))
        start = end + bool(fence)
    return found


def python_blocks(page: str) -> list[Block]:
    """Its blocks of Python."""
    return [block for block in blocks(page) if block.language == "python"]


def commands(page: str) -> list[Printed]:
    """Its commands, one by one: those of blocks, and those within sentences that have arguments."""
    found = []
    for block in blocks(page):
        if block.language == "sh":
            found += _of_block(block)
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        for text in re.findall(r"`([^`]+)`", line):
            if text.split()[0] in _PROGRAMS and len(text.split()) > 1:
                found.append(Printed(page, number, text, inline=True))
    return found


def _of_block(block: Block) -> list[Printed]:
    found, number = [], block.line
    for line in re.split(r"(?<!\\)\n", block.text):
        at, number = number, number + 1 + line.count("\n")
        without = re.sub(r"\s+#.*", "", line.replace("\\\n", " "))
        parts = [" ".join(part.split()) for part in without.split("&&")]
        found += [Printed(block.page, at, part, inline=False) for part in parts]
    return found
