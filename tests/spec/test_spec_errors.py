"""Every fault of a spec is told with file, line, path, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdcompiler.errors import SpecError
from mdcompiler.spec import load_spec, parse_spec, zoo_names

GOOD = """name: tiny
input: {height: 32, width: 32}
blocks:
  C4:
    - {kind: conv, out: 8, stride: 2}
    - {kind: ibn, out: 8, expansion: 4}
  C5:
    - {kind: tucker, out: 8, input_ratio: 0.25, output_ratio: 0.75, stride: 2}
head: {levels: [C4, C5], extra: [16], classes: 2, labels: [cat, dog]}
"""


def told(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.yaml")
    return str(caught.value).splitlines()


def test_the_good_one_is_good() -> None:
    assert parse_spec(GOOD, "x.yaml").head.class_slots == 3


BLOCK = "- {kind: ibn, out: 8, expansion: 4}"
EXPECTED = [
    (BLOCK, "- {kind: ibn, out: 8, expansion: 4, kernel: 4}", "6: blocks.C4[1].kernel is 4; an odd number from 1 to 9"),
    (BLOCK, "- {kind: ibn, out: 8, expansion: 4, stride: 3}", "6: blocks.C4[1].stride is 3; 1 or 2"),
    (BLOCK, "- {kind: ibn, out: 8, expansion: 4, stride: true}", "6: blocks.C4[1].stride is true; 1 or 2"),
    (BLOCK, "- {kind: ibn, out: 0, expansion: 4}", "6: blocks.C4[1].out is 0; an integer from 1 to 8192"),
    (BLOCK, "- {kind: ibn, out: '8', expansion: 4}", "6: blocks.C4[1].out is '8'; an integer from 1 to 8192"),
    (BLOCK, "- {kind: ibn, expansion: 4}", "6: blocks.C4[1].out is missing; an integer from 1 to 8192"),
    (
        BLOCK,
        "- {kind: ibn, out: 8, expansion: .nan}",
        "6: blocks.C4[1].expansion is '.nan'; a number from 1 to 64; 1: no expansion convolution",
    ),
    (
        BLOCK,
        "- {kind: fused, out: 8, expansion: 1}",
        "6: blocks.C4[1].expansion is 1; a number above 1, up to 64",
    ),
    (
        BLOCK,
        "- {kind: ibn, out: 8, expansion: 4, activation: gelu}",
        "6: blocks.C4[1].activation is 'gelu'; one of relu6, relu, hard-swish, swish, none",
    ),
    (BLOCK, "- {kind: conv2, out: 8}", "6: blocks.C4[1].kind is 'conv2'; one of conv, ibn, fused, tucker"),
    (BLOCK, "- {out: 8}", "6: blocks.C4[1].kind is missing; one of conv, ibn, fused, tucker"),
    (BLOCK, "- ibn", "6: blocks.C4[1] is 'ibn'; a mapping"),
    (
        BLOCK,
        "- {kind: conv, out: 8, expansion: 4}",
        "6: blocks.C4[1].expansion is not known; one of kind, out, kernel, stride, activation, epsilon",
    ),
    (
        "stride: 2}\n    - {kind: ibn",
        "strid: 2}\n    - {kind: ibn",
        (
            "5: blocks.C4[0].strid is not known (did you mean stride?); "
            "one of kind, out, kernel, stride, activation, epsilon"
        ),
    ),
    (
        BLOCK,
        "- {kind: ibn, out: 16, expansion: 4, residual: on}",
        (
            "6: blocks.C4[1].residual is 'on'; "
            "auto or off, as the block goes from 8x16x16 to 16x16x16; on needs equal shapes"
        ),
    ),
    ("height: 32", "height: 7.5", "2: input.height is 7.5; an integer from 8 to 4096, in pixels"),
    ("height: 32", "scale: 1e9", "2: input.scale is 1000000000.0; a number from -1e6 to 1e6"),
    ("name: tiny", "name: a/b", "1: name is 'a/b'; 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"),
    (
        "  C5:",
        "  head:",
        "7: blocks.head is no name for this; a letter, then up to 15 letters, digits or '_'; not input, extra or head",
    ),
    ("[C4, C5]", "[C4, C6]", "9: head.levels[1] is 'C6'; one of the endpoints C4, C5"),
    ("[C4, C5]", "[]", "9: head.levels has 0 entries; at least 1"),
    ("[cat, dog]", "[cat]", "9: head.labels has 1 names; as many as head.classes, 2"),
    ("[cat, dog]", "[1, 2]", "9: head.labels is a list; coco, or a list of texts of 1 to 100 characters, one a class"),
    ("head: {", "head: {anchors: {max_scale: 0.1}, ", "9: head.anchors.max_scale is 0.1; at least min_scale, 0.2"),
    ("head: {", "width: 0\nhead: {", "9: width is 0; a number from 0.01 to 16"),
    ("head: {", "endpoints: {D: {block: C5}}\nhead: {", "9: endpoints.D.block is 'C5'; a block such as C5/b0"),
    (
        "head: {",
        "endpoints: {D: {block: C5/b1}}\nhead: {",
        "9: endpoints.D.block is 'C5/b1'; a block of this spec, such as C5/b0",
    ),
    (
        "head: {",
        "endpoints: {D: {block: C5/b0, tap: dw}}\nhead: {",
        "9: endpoints.D.tap is 'dw'; one of output, reduce, core, project",
    ),
    (
        "head: {",
        "postprocess: {mode: soft, scales: [10, 10, 5]}\nhead: {",
        "9: postprocess.mode is 'soft'; one of fast, regular",
    ),
    ("name: tiny", "name: tiny\nname: tiny", "2: name is given twice, first on line 1; keep one"),
    (
        BLOCK,
        "- {kind: ibn, out: 8, out: 8, expansion: 4}",
        "6: blocks.C4[1].out is given twice, first on line 6; keep one",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), EXPECTED)
def test_message(old: str, new: str, message: str) -> None:
    assert old in GOOD
    assert told(GOOD.replace(old, new, 1))[0] == f"x.yaml:{message}"


def test_several_faults_are_all_told_in_the_order_of_the_file() -> None:
    text = GOOD.replace("height: 32", "height: 4").replace("out: 8, expansion: 4", "kernel: 2, expansion: 4")
    assert told(text) == [
        "x.yaml:2: input.height is 4; an integer from 8 to 4096, in pixels",
        "x.yaml:6: blocks.C4[1].out is missing; an integer from 1 to 8192",
        "x.yaml:6: blocks.C4[1].kernel is 2; an odd number from 1 to 9",
    ]


def test_too_large_a_network_is_refused() -> None:
    text = GOOD.replace("conv, out: 8", "conv, out: 8192").replace(
        "ibn, out: 8, expansion: 4", "fused, out: 8, expansion: 64"
    )
    (line,) = told(text)
    assert line.startswith("x.yaml:1: the spec has 38,")
    assert line.endswith(" parameters; at most 500,000,000, make the network smaller")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml: the file is empty; a spec is a mapping"),
        ("- 1", "x.yaml:1: the spec is a list; a mapping"),
        ("3", "x.yaml:1: the spec is 3; a mapping"),
        ("a: [", "x.yaml:1: not YAML: expected the node content, but found '<stream end>'; correct the syntax"),
        ("a: 1\n b: 2", "x.yaml:2: not YAML: mapping values are not allowed here; correct the syntax"),
        ("a: 1\n---\nb: 2", "x.yaml: the file holds several documents; one spec a file"),
        ("a: &x [1]\nb: *x", "x.yaml:1: anchors (&) and aliases (*) are not allowed; write the value out"),
        ("a: 1\nb: *x", "x.yaml:2: anchors (&) and aliases (*) are not allowed; write the value out"),
        (
            "a: !!python/object/apply:os.getcwd []",
            "x.yaml:1: the tag tag:yaml.org,2002:python/object/apply:os.getcwd is not allowed; write plain values",
        ),
        ("[" * 100_000, "x.yaml:1: nested more than 16 deep"),
        ("? [1]\n: 2", "x.yaml:1: a key has to be plain text"),
        ("a" * 300_000, "x.yaml: the spec has more than 262144 bytes; it is a few kilobytes of text"),
        (
            "a: \x00",
            "x.yaml: not text that YAML allows: unacceptable character #x0000: special characters are not allowed",
        ),
    ],
)
def test_broken_text(text: str, message: str) -> None:
    assert told(text) == [message]


def test_unknown_name_lists_the_zoo() -> None:
    with pytest.raises(SpecError, match=f"'nonesuch' is not in the zoo, which has {', '.join(zoo_names())}"):
        load_spec("nonesuch")


def test_file_faults(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_spec(tmp_path / "absent.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_spec(_made_directory(tmp_path / "folder.yaml"))
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"binary\.json cannot be read: it is no UTF-8 text"):
        load_spec(binary)


def test_file_name_and_line_are_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace("expansion: 4", "expansion: 4, kernel: 4"))
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == f"{path}:6: blocks.C4[1].kernel is 4; an odd number from 1 to 9"


def _made_directory(path: Path) -> Path:
    path.mkdir()
    return path
