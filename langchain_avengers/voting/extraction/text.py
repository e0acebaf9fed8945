"""The part of a model's text that answers: without reasoning, special tokens, wrappers; prose apart from
code.
"""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from dataclasses import dataclass
from typing import NamedTuple

_THINK = r"(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis|inner_monologue)"
_THINK_CLOSE = re.compile(rf"</{_THINK}>|◁/think▷|\[/THINK\]", re.I)
_THINK_OPEN = re.compile(rf"<{_THINK}>|◁think▷|\[THINK\]", re.I)
_CHANNEL = re.compile(
    r"<\|channel\|>final(?:[^<\n]{0,40})<\|message\|>|<\|start_header_id\|>assistant<\|end_header_id\|>"
)
_STOP = re.compile(
    r"<\|(?:im_end|eot_id|endoftext|end_of_text|end|return|eom_id|eot|user|im_start)\|>|</s>|<eos>"
    r"|<end_of_turn>|<｜end▁of▁sentence｜>|\[/?INST\]|\[/PYTHON\]|\[DONE\]|\[/ANSWER\]"
)
_START = re.compile(r"\s*\[(?:BEGIN|PYTHON|ANSWER)\]")
_NEXT_TURN = re.compile(
    r"\n\s{0,4}(?:(?:Q|Question|Problem|Human|User|Instruction|问题|题目)\s?\d{0,4}\s?[:：]|###"
    r" ?(?:Instruction|Question|Human|User))"
)
_ANSWERED = re.compile(r"answer|####|\\boxed|^\s{0,4}A:|答案", re.I | re.M)
_ANSWER_TAG = re.compile(
    r"<(?:(?:final|correct)[_ -]?)?(?:answer|ans)(?:\s[^<>\n]{0,60})?>"
    r"|(?<!\S)<(?:output|solution|result|final)>(?=\s*\S)|\A<code>",
    re.I,
)
_FENCE = re.compile(r"^[ >]{0,8}(`{3,}|~{3,})[ \t]*([^\s`{]*)[^`\n]*$", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language tag in lower case (may be empty), its text, and whether its fence was
    closed.
    """

    language: str
    text: str
    closed: bool


def literal(text: str) -> object:
    """The value of a Python literal.

    Raises:
        ValueError: If it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes and decimals in what is no literal after all
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            raise ValueError("not a literal") from None


def unwrap(text: str) -> str:
    """The text of a Python or JSON list literal around it, as some exported data sets hold their answers;
    else `text`.
    """
    stripped = text.strip()
    if stripped[:2] in ("['", '["') and stripped[-2:] in ("']", '"]') and len(stripped) < 200_000:
        try:
            inner = literal(stripped)
        except ValueError:
            return text
        if isinstance(inner, list) and all(isinstance(part, str) for part in inner):
            return inner[0] if len(inner) == 1 else text
    return text


# White space says nothing by its length, and patterns that may begin anywhere in it would take time by its square.
_MAX_RUN = 80  # characters
_RUN = re.compile(r"(?<!\s)\s{80,}+")


class Body(NamedTuple):
    """The part of a model's text that answers, and whether it stood in answer tags."""

    text: str
    tagged: bool = False


def bare(text: str) -> str:
    """The answer part of a model's text; empty when there is only reasoning."""
    return answer_part(text).text


def answer_part(text: str) -> Body:
    """The part of a model's text that answers: without reasoning, special tokens, later turns and tags."""
    text = _RUN.sub(lambda run: run[0][:_MAX_RUN], unwrap(text))
    if "<" not in text and "[" not in text and "◁" not in text and "\n" not in text:
        return Body(text.strip())
    written = len(text.rstrip())
    if channel := next((m for m in _CHANNEL.finditer(text) if m.end() < written), None):
        text = text[channel.end() :]
    text = text.lstrip()
    if stop := next((m for m in _STOP.finditer(text) if m.start()), None):
        text = text[: stop.start()]
    if opening := _START.match(text):
        text = text[opening.end() :]
    before, end = "", 0
    for match in _THINK_CLOSE.finditer(text):
        end = match.end()
    if end:
        opening = _THINK_OPEN.search(text)
        before = text[: opening.start()] if opening else ""
        text = text[end:]
    if (opening := _THINK_OPEN.search(text)) is not None:
        text = text[: opening.start()]
    text = (text if text.strip() else before).lstrip()
    if answered := _ANSWERED.search(text):
        turn = next((m for m in _NEXT_TURN.finditer(text) if m.start() >= answered.end()), None)
        text = text[: turn.start()] if turn else text
    tag = None
    for match in _ANSWER_TAG.finditer(text):
        tag = match
    if tag is not None:
        inner = text[tag.end() :]
        closing = inner.find("</")
        inner = (inner[:closing] if closing >= 0 else inner).strip()
        if inner:
            return Body(inner.removeprefix("<![CDATA[").removesuffix("]]>").strip(), True)
    return Body(text.strip())


def split_fences(text: str) -> tuple[str, list[Block]]:
    """`(prose, blocks)`: a mark `\\x00n\\x00` on its own line stands in the prose where block n was."""
    if not 0 < text.count("```") + text.count("~~~") <= 200:
        return text, []
    prose: list[str] = []
    blocks: list[Block] = []
    inside: re.Match[str] | None = None
    last = 0
    for match in _FENCE.finditer(text):
        if inside is None:
            prose.append(text[last : match.start()])
            inside = match
        elif match[1][0] == inside[1][0] and len(match[1]) >= len(inside[1]) and not match[2]:
            prose.append(f"\x00{len(blocks)}\x00")
            blocks.append(Block(inside[2].lower(), text[inside.end() : match.start()].strip("\n"), True))
            inside = None
        else:
            continue
        last = match.end()
    if inside is not None:
        prose.append(f"\x00{len(blocks)}\x00")
        blocks.append(Block(inside[2].lower(), text[inside.end() :].strip("\n"), False))
    else:
        prose.append(text[last:])
    return "".join(prose), blocks


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{...}` holds, braces balanced. Boxes that follow each other in one line are
    joined by commas.
    """
    if "box" not in text:
        return None
    found: list[tuple[int, int, str]] = []
    for match in list(re.finditer(r"\\(?:f?boxed|fbox)\s{0,8}", text))[-20:]:
        start = match.end()
        if text[start : start + 1] != "{":
            simple = re.match(r"-?\w+", text[start : start + 40])
            if simple:
                found.append((match.start(), start + simple.end(), simple[0]))
            continue
        depth = 0
        for position in range(start, min(len(text), start + 4_000)):
            char = text[position]
            if char in "{}" and text[position - 1] != "\\":
                depth += 1 if char == "{" else -1
                if depth == 0:
                    content = text[start + 1 : position].strip()
                    if content:
                        found.append((match.start(), position + 1, content))
                    break
    if not found:
        return None
    group = [found[-1]]
    for earlier in reversed(found[:-1]):
        between = text[earlier[1] : group[0][0]]
        if len(between) > 40 or re.search(r"[\n.]|wait|=>|correct|actually|so\b|thus|therefore", between):
            break
        group.insert(0, earlier)
    return ", ".join(dict.fromkeys(content for _, _, content in group))


_CUT_OFF = re.compile(
    r"(?:[,=+*/(\[{<&:：，、]|\b(?:the|a|an|of|and|or|to|is|are|was|we|by|then|so|with|for|in|that|equals|plus|minus|"
    r"times|because|therefore|thus|from|at|on|if|which|his|her|their"
    r"|its))$",
    re.I,
)


def cut_off(text: str) -> bool:
    """Whether the text plainly ends in the middle of something: an open box or formula, an operator, a
    function word.
    """
    tail = text.rstrip()
    if open_box(tail):
        return True
    if tail.rfind("\\[") > tail.rfind("\\]") or tail.rfind("\\(") > tail.rfind("\\)"):
        return True
    if tail.count(",") * 2 > tail.count(" "):
        return False  # a list of words ends on any word
    return len(tail) > 60 and _CUT_OFF.search(tail[-20:].rstrip("*_ ")) is not None


def open_box(text: str) -> bool:
    r"""Whether the last `\boxed{` is not closed."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    text = text[start : start + 4_000] if start >= 0 else ""
    return text.count("{") - text.count("\\{") > text.count("}") - text.count("\\}")


_EMPHASIS = re.compile(r"\*\*|__(?=\S)|(?<=\S)__|(?<![\w*])\*(?=[^\s*])|(?<=[^\s*])\*(?![\w*])|`")
_MARGIN = re.compile(r"^[ \t]{0,8}(?:>\s?|#{1,3}(?!#)\s+|[-•*]\s+)", re.M)


def plain(text: str) -> str:
    """Prose without Markdown emphasis, quoting, headings and bullets, and without the text commands of LaTeX.
    `####`, which marks an answer, stays.
    """
    if "*" in text or "_" in text or "`" in text:
        text = _EMPHASIS.sub("", text)
    if "\\text" in text or "\\math" in text:
        text = _WRAPPED.sub(r"\1", text)
    return _MARGIN.sub("", text)


_WRAPPED = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|rm|it|sf))\s?\{([^{}\n]{0,200})\}")


_PAIRS = {  # by the first character
    "\\": (
        ("\\(", "\\)"),
        ("\\[", "\\]"),
        ("\\text{", "}"),
        ("\\textbf{", "}"),
        ("\\mathrm{", "}"),
        ("\\mathbf{", "}"),
        ("\\boxed{", "}"),
    ),
    "$": (("$$", "$$"), ("$", "$")),
    "*": (("**", "**"), ("*", "*")),
    "_": (("__", "__"),),
    "`": (("`", "`"),),
    '"': (('"', '"'),),
    "'": (("'", "'"),),
    "“": (("“", "”"),),
    "‘": (("‘", "’"),),
    "「": (("「", "」"),),
    "《": (("《", "》"),),
}


def undress(text: str) -> str:
    """`text` without the quotes, emphasis and math delimiters around all of it, and without closing
    punctuation.
    """
    text = text.strip()
    while True:
        before = text
        text = text.rstrip(" \t\n.。,，;；:：!！")
        for left, right in _PAIRS.get(text[:1], ()):
            if len(text) > len(left) + len(right) - 1 and text.startswith(left) and text.endswith(right):
                inner = text[len(left) : -len(right)]
                if right not in inner or (right == "}" and _closes_last(inner)):
                    text = inner.strip()
        if text == before:
            return text


def _closes_last(inner: str) -> bool:
    depth = 0
    for char in inner:
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return False
    return depth == 0


SENTENCE = re.compile(r"(?<=[.!?])[\"')*\]]*\s+(?=[A-Z\"'(*\\$\[]|$)|[。！？]|\n")
BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")
WORD = re.compile(r"\w")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+(?=\S)")
_SPACE = re.compile(r"\s+")


def normal_form(text: str) -> str:
    """Compatibility-folded, case-folded text; whitespace collapsed, outer punctuation and a leading article
    dropped.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = text.translate(_LOOKALIKES)
    text = _SPACE.sub(" ", text).strip(" \t\n.,;:!?\"'`*_()[]{}")
    return _ARTICLE.sub("", text)


_LOOKALIKES = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "–": "-",
        "—": "-",
        "−": "-",
        "‐": "-",
        "‑": "-",
        "…": "...",
        "。": ".",
        "，": ",",
        "\u200b": None,
        "\ufeff": None,
        "\x00": None,
    }
)
