"""The code of a reply, and code in canonical form."""

from __future__ import annotations

import ast
import re
from typing import Any

from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.question import Asked
from langchain_avengers.voting.extraction.structured import is_data
from langchain_avengers.voting.extraction.text import Block

_MAX = 100_000  # characters; beyond it code is compared as text
PYTHON = ("python", "py", "python3", "py3")
_PROSE = {
    "text",
    "txt",
    "plaintext",
    "plain",
    "markdown",
    "md",
    "latex",
    "tex",
    "math",
    "output",
    "console",
    "answer",
    "none",
}
_SHORT = 4_000  # characters of code amid prose whose end may be looked for by parsing many times
_CODE_LINE = re.compile(
    r"^\s*(?:def |class |import |from \w+ import|return\b|for .+:|while .+:|if .+:|print\("
    r"|function\b|const |let |var |public "
    r"|private |#include|using |package |func |fn |SELECT\b|INSERT\b|CREATE\b|\w+\s*=[^=]"
    r"|[\w.]+\(.*\);?\s*$|[{}]\s*$|#!)",
    re.M,
)


def is_code(language: str, text: str) -> bool:
    """Whether a fenced block holds code: by its tag, else by its lines."""
    if language:
        return not is_data(language) and language not in _PROSE
    return _CODE_LINE.search(text) is not None and "\\boxed" not in text


def is_whole(text: str, language: str = "") -> bool:
    """Whether code whose fence was never closed is all there: Python has to parse, braces to be closed."""
    if language in ("", *PYTHON):
        return parse_python(text) is not None
    return text.count("{") == text.count("}")


def canonical_code(text: str, language: str = "") -> str:
    """Code without formatting, comments and docstrings.

    Python goes through its syntax tree. Beside definitions, what only tries them out (bare calls, asserts,
    the `__main__` guard) is left out as well. Other languages lose comments and whitespace.
    """
    if len(text) <= _MAX and language in ("", *PYTHON):
        tree = parse_python(text)
        if tree is not None:
            try:
                return ast.unparse(_Bare().visit(tree))
            except RecursionError:
                pass
    return _squeeze(text, language)


def definitions(text: str) -> frozenset[str]:
    """Names of the functions and classes that code defines at its top."""
    return frozenset(_DEFINES.findall(text))


_DEFINES = re.compile(
    r"^(?:(?:async |export |default |public |private |static |final |pub )*"
    r"(?:def|class|function|fn|func|struct|interface))\s+(\w+)",
    re.M,
)
_STATEMENT = re.compile(r"^(?:def|class|import|from|async def|return|for|while|if|@|\w+ ?=)", re.M)
_TOP_LINE = re.compile(
    r"\s|$|[#@)\]}]|(?:def|class|import|from|async|if|elif|else|try|except|finally|for|while|with|assert|print|return|raise)\b"
    r"|\w+(?:\[.*\]|\.\w+)* ?[-+*/]?="
)


def find_code(text: str, *, eager: bool = False) -> str | None:
    """Code that stands in `text` without a fence: Python that does more than name something, or defines something
    amid prose; with `eager` also a text that opens like code of another language.
    """
    if len(text) > _MAX:
        return None
    if _STATEMENT.search(text):
        if (tree := parse_python(text)) is not None and any(
            not isinstance(node, ast.Expr) for node in tree.body
        ):
            return text
        lines = text.split("\n")
        start = next(
            (i for i, line in enumerate(lines) if re.match(r"(?:def|class|import|from|@)\s?\w", line)), None
        )
        if start is not None:
            end = next((i for i in range(start, len(lines)) if not _TOP_LINE.match(lines[i])), len(lines))
            tries = 50 if len(text) < _SHORT else 5
            for stop in range(end, max(start, end - tries), -1):
                part = "\n".join(lines[start:stop])
                if definitions(part) and parse_python(part) is not None:
                    return part
    return text if eager and _CODE_LINE.match(text) else None


def parse_python(text: str) -> ast.Module | None:
    """The syntax tree of Python code, whose margin or first indentation may be lost; `None` when it is none."""
    import textwrap
    import warnings

    text = re.sub(r"^(>>> |\.\.\. )", "", text, flags=re.M)
    first, _, rest = text.partition("\n")
    margin = re.search(r"^([ \t]+)\S", rest, re.M)
    # the body of a function whose first line lost its indentation
    body = textwrap.dedent(f"{margin[1]}{first}\n{rest}") if margin else text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        for attempt in (text, textwrap.dedent(text), body):
            try:
                return ast.parse(attempt)
            except (SyntaxError, ValueError, MemoryError, RecursionError):
                continue
    return None


class _Bare(ast.NodeTransformer):
    """Drops docstrings everywhere, and trials beside definitions at the top."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.generic_visit(node)
        defines = any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for n in node.body)
        body = [n for n in node.body if not (_is_string(n) or (defines and _is_trial(n)))]
        node.body = body or node.body
        return node

    def _definition(self, node: Any) -> Any:
        self.generic_visit(node)
        if node.body and _is_string(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_trial(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))


def _squeeze(text: str, language: str) -> str:
    if language in ("python", "py", "sh", "bash", "shell", "ruby", "r", "perl", "yaml"):
        text = re.sub(r"(?m)(?:^|\s)#.*$", "", text)
    elif language in ("sql", "lua", "haskell"):
        text = re.sub(r"(?m)--.*$", "", text)
        text = text.casefold() if language == "sql" else text
    elif language not in ("", "html", "xml"):
        text = re.sub(r"(?m)(?<![:\w])//.*$", "", text)
        head, *commented = text.split("/*")
        text = " ".join([head, *(part.partition("*/")[2] for part in commented)])
    text = re.sub(r"\s+", " ", text)
    return re.sub(r" ?([^\w\s\"']) ?", r"\1", text).strip()


def read_code(prose: str, blocks: list[Block], asked: Asked) -> Answer | None:
    """The code of an answer; see `find_source`."""
    found = find_source(prose, blocks, asked)
    return None if found is None else code_answer(*found)


def find_source(prose: str, blocks: list[Block], asked: Asked) -> tuple[str, str] | None:
    """The code of an answer as it stands there, and its language.

    That is the block that defines what the question names or, failing that, something, with the definitions of
    earlier blocks that it uses; or code without a fence.

    Of several blocks that define the same, the first counts, unless the text takes it back.
    """
    found = [
        (i, block)
        for i, block in enumerate(blocks)
        if (is_code(block.language, block.text) or (asked.code and not is_data(block.language)))
        and block.text.strip()
        and (block.closed or is_whole(block.text, block.language))
    ]
    if not found:
        loose = None if blocks else find_code(prose, eager=asked.code)
        return None if loose is None else (loose, "")
    names = [definitions(block.text) for _, block in found]
    best = max(
        range(len(found)),
        key=lambda k: (
            bool(names[k] & asked.entries),
            bool(names[k]),
            0 if names[k] else len(found[k][1].text),
        ),
    )
    while (
        later := next((k for k in range(best + 1, len(found)) if names[k] & names[best]), None)
    ) is not None:
        if not _TAKEN_BACK.search(
            prose.partition(f"\x00{found[best][0]}\x00")[2].partition(f"\x00{found[later][0]}\x00")[0]
        ):
            break
        best = later
    text = found[best][1].text
    known = names[best]
    for k in range(best - 1, -1, -1):
        if (
            found[k][1].language == found[best][1].language
            and not names[k] & known
            and any(name in text for name in names[k])
        ):
            text, known = f"{found[k][1].text}\n\n{text}", known | names[k]
    return text, found[best][1].language


def code_answer(text: str, language: str = "") -> Answer | None:
    """Code as an answer; `None` when it is comments alone."""
    value = canonical_code(text, language)
    return Answer("code", value) if value.strip() else None


_TAKEN_BACK = re.compile(
    r"\b(?:wait|oops|mistake|incorrect|wrong|bug|correct(?:ed|ion)?|fix(?:ed|es)?|revised|updated|actually|improved)\b",
    re.I,
)
