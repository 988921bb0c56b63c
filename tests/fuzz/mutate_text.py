"""Damage to YAML, JSON and JSON lines: as text, and as the tree that the text says."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Any

import yaml

from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.odd_values import INTEGERS, NAMES, near, nested, odd_value

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_TOKENS = (
    "2026-12-01",
    "2026-12-01T00:00:00Z",
    "!!python/object/apply:os.system [true]",
    "!!binary aGFsbG8=",
    "!!timestamp x",
    "!!int 0x",
    "!!float _",
    "!!set {a, b}",
    "&a [*a]",
    "*missing",
    "<<: {a: 1}",
    "? [a]: b",
    "0x7fffffffffffffff",
    "0b2",
    "1:30",
    ".nan",
    "-.inf",
    "~",
    "|",
    ">-",
    "%YAML 9.9",
    "---",
    "...",
    "\t",
    "\ufeff",
    "\x00",
    "\x85",
    "{",
    "]",
    ":",
    "- ",
    "NaN",
    "-Infinity",
    "1e999",
    '"\\ud800"',
    "'",
)
_BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
_MOST_PLACES = 5000
"""Aliases make small texts into endless trees."""

Tree = Any


def mutate_text(random: Random, data: bytes) -> bytes:
    """One damage to text, which need not be text afterwards."""
    text = data.decode("utf-8", errors="surrogateescape")
    edit = random.choice((_number, _number, _token, _line, _line, _indent, _key, _bomb, None))
    if edit is None or not text:
        return mutate_bytes(random, data)
    return edit(random, text).encode("utf-8", errors="surrogateescape" if text.isascii() else "replace")


def mutate_yaml(random: Random, data: bytes) -> bytes:
    """One damage to the tree of a YAML or JSON file; to its text when it has no tree."""
    return _mutate_parsed(random, data, yaml.safe_load, _dump_yaml)


def mutate_json(random: Random, data: bytes) -> bytes:
    """One damage to the tree of a JSON file; to its text when it has no tree."""
    return _mutate_parsed(random, data, json.loads, _dump_json)


def mutate_lines(random: Random, data: bytes) -> bytes:
    """One damage to one line of a file of JSON lines."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    lines[at] = random.choice((mutate_json, mutate_json, mutate_text))(random, lines[at])
    return b"\n".join(lines)


def _mutate_parsed(random: Random, data: bytes, parse: Callable[[bytes], Tree], dump: Callable[[Tree], bytes]) -> bytes:
    if random.random() < 0.3:
        return mutate_text(random, data)
    try:
        return dump(mutate_tree(random, parse(data)))
    except Exception:  # text that was damaged before; parsers raise anything
        return mutate_text(random, data)


def mutate_tree(random: Random, tree: Tree) -> Tree:
    """`tree` with one change at one place."""
    tree = copy.deepcopy(tree)
    places = list(islice(_places(tree), _MOST_PLACES))
    if not places:
        return odd_value(random)
    holder, key = random.choice(places)
    edit = random.choice(("odd", "odd", "odd", "near", "near", "drop", "copy", "wrap", "rename", "swap"))
    if edit == "drop":
        del holder[key]
    elif edit == "copy" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif edit == "rename" and isinstance(holder, dict):
        holder[random.choice((*NAMES, *map(str, holder)))] = holder.pop(key)
    elif edit == "swap":
        other, at = random.choice(places)
        holder[key] = copy.deepcopy(other[at])
    elif edit == "wrap":
        holder[key] = random.choice(([holder[key]], {"a": holder[key]}, str(holder[key])))
    elif edit == "near" and isinstance(holder[key], int):
        holder[key] = near(random, holder[key])
    else:
        holder[key] = odd_value(random)
    return tree


def _places(tree: Tree) -> Any:
    """Every (container, key or index) of `tree`."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _places(value)


def _dump_yaml(tree: Tree) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", errors="surrogatepass")


def _dump_json(tree: Tree) -> bytes:
    return json.dumps(tree).encode()


def _number(random: Random, text: str) -> str:
    found = list(_NUMBER.finditer(text))
    if not found:
        return text + str(random.choice(INTEGERS))
    at = random.choice(found)
    new = random.choice(
        (str(random.choice(INTEGERS)), "1e999", "-0", ".5", "9" * 5000, at[0] + "0", "0x10", at[0] + ".5")
    )
    return text[: at.start()] + new + text[at.end() :]


def _token(random: Random, text: str) -> str:
    at = random.choice([match.end() for match in re.finditer(r"[:\[,\n] ?", text)] or [0])
    return text[:at] + random.choice(_TOKENS) + random.choice((" ", "\n", "")) + text[at:]


def _line(random: Random, text: str) -> str:
    lines = text.split("\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    changed = (
        [*lines[:at], *lines[at + 1 :]],
        [*lines[:at], lines[at], *lines[at:]],
        [*lines[:at], lines[other], *lines[at:]],
        [*lines[:at], lines[at] + lines[other], *lines[at + 1 :]],
    )
    return "\n".join(random.choice(changed))


def _indent(random: Random, text: str) -> str:
    lines = text.split("\n")
    at = random.randrange(len(lines))
    lines[at] = random.choice((" ", "  ", "\t", "- ")) + lines[at] if random.random() < 0.6 else lines[at].lstrip()
    return "\n".join(lines)


def _key(random: Random, text: str) -> str:
    words = re.findall(r"[A-Za-z_]\w*", text)
    if not words:
        return text
    return text.replace(random.choice(words), random.choice((*NAMES, *words)), 1)


def _bomb(random: Random, text: str) -> str:
    return random.choice((_BOMB + text, text + _BOMB, "[" * 3000, json.dumps(nested(200)), text * 50))
