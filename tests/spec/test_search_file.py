"""Search spaces from files: what they say, and every fault with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdcompiler.errors import SpecError
from mdcompiler.spec import build_network, load_spec
from mdcompiler.spec.search_file import is_space_file, load_space
from mdcompiler.spec.search_op import Op

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "spaces" / "phone.yaml"
SPACE = """name: mine
template: mobiledet-edgetpu
stem: [16, 24, 16]
se: [0, 0.25]
groups:
  - stage: C4
    stride: 2
    channels: 32
    least: 1
    most: 3
    blocks:
      - {kind: ibn, kernel: [3, 5], expansion: 4}
      - {kind: tucker, kernel: 3, input_ratio: [0.25, 0.5], output_ratio: 0.75}
  - {stage: C5, stride: 2, channels: [48], blocks: [{kind: fused, expansion: 2}]}
"""


def written(folder: Path, *changes: tuple[str, str]) -> str:
    """The path of SPACE, changed."""
    text = SPACE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "space.yaml"
    path.write_text(text)
    return str(path)


def test_what_the_file_says_is_the_space(tmp_path: Path) -> None:
    space = load_space(written(tmp_path))
    assert (space.stem, space.se_ratios, space.activations) == ((16, 24), (0, 0.25), ("relu6",))
    assert (space.heights, space.widths) == ((320,), (320,))
    first, last = space.groups
    tuckers = tuple(Op("tucker", 3, (ratio, 0.75)) for ratio in (0.25, 0.5))
    assert first.ops == (Op("ibn", 3, (4.0,)), Op("ibn", 5, (4.0,)), *tuckers)
    assert (first.stride, first.channels, first.least, first.most) == (2, (32,), 1, 3)
    assert last.ops == (Op("fused", 3, (2.0,)),)
    for seed in range(5):
        spec = space.sample(seed)
        assert spec.head == load_spec("mobiledet-edgetpu").head
        assert build_network(spec).anchor_count > 0
        assert space.decode(space.encode(spec)) == spec


def test_the_template_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(load_spec("mobiledet-cpu").to_yaml())
    space = load_space(written(tmp_path, ("mobiledet-edgetpu", "base.yaml")))
    assert (space.template.name, space.activations) == ("mine", ("hard-swish",))


def test_the_example_is_a_space(tmp_path: Path) -> None:
    assert is_space_file(str(EXAMPLE))
    assert build_network(load_space(str(EXAMPLE)).sample(0)).anchor_count == 2034


def test_specs_are_no_spaces(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(load_spec("mobiledet-cpu").to_yaml())
    assert not is_space_file(str(spec))
    assert not is_space_file("mobiledet-cpu")
    with pytest.raises(SpecError, match=r"none\.yaml cannot be read"):
        is_space_file(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: mine", "title: mine", r":1: title is not known"),
        ("stem: [16, 24, 16]", "stem: []", r":3: stem has 0 entries; at least 1"),
        ("stem: [16, 24, 16]", "stem: [0]", r":3: stem\[0\] is 0; an integer from 1 to 8192"),
        ("stride: 2\n", "stride: 3\n", r":7: groups\[0\].stride is 3; 1 or 2"),
        ("most: 3", "most: 99", r":10: groups\[0\].most is 99; an integer from 1 to 16"),
        ("least: 1", "least: 4", r":9: groups\[0\].least is 4; at most the group's `most`, 3"),
        ("kind: ibn", "kind: pool", r":12: groups\[0\].blocks\[0\].kind is 'pool'; one of ibn, fused, tucker"),
        ("kernel: [3, 5]", "kernel: [3, 4]", r":12: groups\[0\].blocks\[0\].kernel\[1\] is 4; an odd number"),
        ("expansion: 4", "input_ratio: 0.5", r":12: groups\[0\].blocks\[0\].expansion is missing; ibn blocks have one"),
        (
            "expansion: 4",
            "input_ratio: 0.5",
            r":12: groups\[0\].blocks\[0\].input_ratio is not of ibn blocks; leave it",
        ),
        (
            "expansion: 2",
            "expansion: [1, 2]",
            r":14: groups\[1\].blocks\[0\].expansion is 1; a number above 1 for fused",
        ),
        ("stage: C5", "stage: C6", r":5: groups have no stage C5, which the head of the template reads; name one so"),
        ("stage: C5, stride: 2", "stage: C4, stride: 2", r":5: groups have no stage C5"),
        ("template: mobiledet-edgetpu", "template: none", r"spec 'none' is not in the zoo"),
        ("stem: [16, 24, 16]", "stem: 8192", r"the first network of the space is none: "),
    ],
)
def test_faults_are_told(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=said):
        load_space(written(tmp_path, (old, new)))


def test_a_space_that_is_too_large_is_refused(tmp_path: Path) -> None:
    channels = str([8 * index for index in range(1, 17)])
    sizes = str([32 * index for index in range(1, 17)])
    path = written(
        tmp_path, ("channels: 32", f"channels: {channels}"), ("se:", f"heights: {sizes}\nwidths: {sizes}\nse:")
    )
    with pytest.raises(
        SpecError, match=r"the space may have [\d,]+ blocks; at most 100,000 can be listed\. Leave some"
    ):
        load_space(path)
