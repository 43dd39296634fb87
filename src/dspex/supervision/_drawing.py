"""How a tree is drawn: in plain text, with rich, and as a Mermaid flowchart. All three show the same words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from ._branch import Branch, Fact

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree as RichTree

SHOWN = 40
"""Children of one branch that are drawn; the others are counted."""

LONGEST_WORD = 48
LONGEST_NOTE = 100

# What a state means to whoever looks. A state that isn't here is neither good nor bad.
LOOKS = {
    "running": "well",
    "ready": "well",
    "starting": "busy",
    "switching": "busy",
    "stopping": "busy",
    "draining": "busy",
    "restarting": "busy",
    "overdue": "bad",
    "stuck": "bad",
    "parked": "bad",
    "crashed": "bad",
    "expired": "over",
    "stopped": "over",
    "closed": "over",
    "new": "over",
}
_URGENCY = {"bad": 0, "busy": 1}
_COLOURS = {"well": "green", "busy": "yellow", "bad": "bold red", "over": "dim"}
_FILLS = {
    "well": "fill:#dfd,stroke:#383,color:#000",
    "busy": "fill:#ffd,stroke:#a80,color:#000",
    "bad": "fill:#fdd,stroke:#c33,color:#000",
    "over": "fill:#eee,stroke:#999,color:#000",
}

# Facts that make one phrase. The first of them says where it stands; a phrase that isn't complete is not used.
_PHRASES = (
    (("restarts", "allowed", "seconds"), "restarts {} of {} in {} s"),
    (("restarts", "allowed"), "restarts {} of {}"),
    (("restarted",), "restarted {}×"),
    (("ready", "workers"), "{} of {} workers"),
    (("strategy",), "{}"),
    (("backend",), "{}"),
)


@frozen
class Words:
    """What is shown of one branch, safe to print."""

    name: str
    kind: str
    state: str
    facts: tuple[str, ...] = ()
    note: str = ""
    look: str = ""

    @classmethod
    def of(cls, branch: Branch) -> Words:
        """The words for *branch*."""
        return cls(
            name=safe(branch.name) or "''",
            kind=safe(branch.kind),
            state=safe(branch.state),
            facts=tuple(_phrases(branch)),
            note=safe(branch.note, LONGEST_NOTE),
            look=LOOKS.get(branch.state, ""),
        )


def safe(text: str, longest: int = LONGEST_WORD) -> str:
    """*text* on one line, without anything that moves the cursor, hides or can't be encoded, and cut at *longest* characters."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in cut)


def _phrases(branch: Branch) -> Iterator[str]:
    told: set[str] = set()
    for name, fact in branch.facts.items():
        if name in told:
            continue

        names, phrase = _phrase_for(name, branch)
        told.update(names)
        if phrase:
            yield phrase.format(*(_shown(branch.facts[each]) for each in names))
        elif fact is True:
            yield safe(name.replace("_", " "))
        elif fact is not None and fact is not False:
            yield safe(f"{name.replace('_', ' ')} {_shown(fact)}")


def _phrase_for(name: str, branch: Branch) -> tuple[tuple[str, ...], str]:
    for names, phrase in _PHRASES:
        if names[0] == name and all(branch.facts.get(each) is not None for each in names):
            return names, phrase

    return (name,), ""


def _shown(fact: Fact) -> str:
    return f"{fact:g}" if isinstance(fact, float) else safe(str(fact))


# --- which children --------------------------------------------------------------------------------------------------------------


def drawn(branch: Branch) -> tuple[Sequence[Branch], str]:
    """The children of *branch* to draw, and a line on those that are left out: of many, the ones in trouble come first."""
    children: Sequence[Branch] = branch.children
    others = Counter(branch.others)
    if len(children) > SHOWN:
        ordered = sorted(children, key=_urgency)
        children = ordered[:SHOWN]
        others.update(child.state or child.kind for child in ordered[SHOWN:])

    return children, line_on(others)


def line_on(others: Mapping[str, int]) -> str:
    """One line on so many children, by state, that are left out; nothing on none."""
    if not others:
        return ""

    states = ", ".join(f"{count:,} {safe(state)}" for state, count in Counter(others).most_common())
    return f"… and {sum(others.values()):,} more: {states}"


def _urgency(branch: Branch) -> int:
    return min(_URGENCY.get(LOOKS.get(below.state, ""), len(_URGENCY)) for _, below in branch.walk())


# --- plain text ------------------------------------------------------------------------------------------------------------------


def as_text(root: Branch) -> str:
    """One line a branch. Names, kinds and states of siblings stand under each other."""
    return "\n".join([_line(Words.of(root), (0, 0, 0)), *_below(root, "")])


def _below(branch: Branch, stem: str) -> Iterator[str]:
    children, more = drawn(branch)
    words = [Words.of(child) for child in children]
    columns = _columns(words)
    for number, (child, said) in enumerate(zip(children, words, strict=True), 1):
        last = number == len(children) and not more
        yield f"{stem}{'└── ' if last else '├── '}{_line(said, columns)}"
        yield from _below(child, stem + ("    " if last else "│   "))

    if more:
        yield f"{stem}└── {more}"


def _columns(words: Sequence[Words]) -> tuple[int, int, int]:
    def widest(texts: Iterator[str]) -> int:
        return max(map(width, texts), default=0)

    return widest(each.name for each in words), widest(each.kind for each in words), widest(each.state for each in words)


def _line(words: Words, columns: tuple[int, int, int]) -> str:
    cells = [text + " " * (column - width(text)) for text, column in zip((words.name, words.kind, words.state), columns, strict=True)]
    return "  ".join([*(cell for cell in cells if cell), *words.facts, *filter(None, [words.note])]).rstrip()


def width(text: str) -> int:
    """How many columns of a terminal *text* takes."""
    if text.isascii():
        return len(text)

    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else not unicodedata.combining(letter) for letter in text)


# --- rich ------------------------------------------------------------------------------------------------------------------------


def as_rich(root: Branch) -> RichTree:
    """The same words in colours."""
    from rich.tree import Tree

    tree = Tree(_label(Words.of(root)), guide_style="dim")
    _grow(tree, root)
    return tree


def _grow(tree: RichTree, branch: Branch) -> None:
    from rich.text import Text

    children, more = drawn(branch)
    for child in children:
        _grow(tree.add(_label(Words.of(child))), child)

    if more:
        tree.add(Text(more, style="dim"))


def _label(words: Words) -> Text:
    from rich.text import Text

    colour = _COLOURS.get(words.look, "")
    cells = [(words.name, "bold"), (words.kind, "cyan"), (words.state, colour), *((fact, "") for fact in words.facts), (words.note, "red")]
    return Text("  ").join(Text(text, style=style) for text, style in cells if text)


# --- Mermaid ---------------------------------------------------------------------------------------------------------------------


def as_mermaid(root: Branch) -> str:
    """A flowchart from the top down; each box is coloured by its state."""
    boxes = [_box(0, Words.of(root))]
    _chart(root, 0, boxes)
    colours = [f"classDef {look} {fill}" for look, fill in _FILLS.items()]
    return "\n".join(["flowchart TD", *(f"    {line}" for line in boxes + colours)]) + "\n"


def _chart(branch: Branch, number: int, boxes: list[str]) -> None:
    children, more = drawn(branch)
    for child in children:
        its = len(boxes)
        boxes.append(f"b{number} --> {_box(its, Words.of(child))}")
        _chart(child, its, boxes)

    if more:
        boxes.append(f"b{number} --> {_box(len(boxes), Words(more, '', '', look='over'))}")


def _box(number: int, words: Words) -> str:
    told = (words.name, "  ".join(filter(None, [words.kind, words.state])), "  ".join(words.facts), words.note)
    return f'b{number}["{"<br/>".join(_escaped(text) for text in told if text)}"]{f":::{words.look}" if words.look else ""}'


def _escaped(text: str) -> str:
    # Mermaid's own way of writing a character: what isn't a letter, a digit or plain punctuation goes by its number.
    return "".join(letter if letter.isalnum() or letter in " _-.,/()…" else f"#{ord(letter)};" for letter in text)
