"""A call that runs a chain of kernels strip by strip, and the C that does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mdcompiler.backends.clib.program import Call
from mdcompiler.backends.clib.strip_chain import StripSource, row_bytes


@dataclass(frozen=True)
class Link:
    """One kernel of a fused chain.

    places: of its constants and residual among the pointers of the call. rows: of its strip, 0 for the last.
    offset_bytes: of its strip in the scratch.
    """

    symbol: str
    places: tuple[int, ...]
    source: StripSource
    rows: int
    offset_bytes: int

    @property
    def row_bytes(self) -> int:
        return row_bytes(self.source)

    @property
    def groups(self) -> int:
        """How often the kernel's outermost loop runs over all rows."""
        return self.source.tasks // self.source.work.geometry.out[0]


@dataclass(frozen=True)
class StripCall(Call):
    """Iterations are strips of `strip_rows` rows of the last output."""

    links: tuple[Link, ...] = ()
    strip_rows: int = 0

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(link.symbol for link in self.links)

    def statement(self, pointers: Sequence[str], scratch: str) -> str:
        """A loop over strips; in it one loop over channel groups for every link."""
        body = [self._bounds(index) for index in reversed(range(len(self.links)))]
        for index in range(len(self.links)):
            body.extend(self._link(index, pointers))
        lines = "\n        ".join(line for lines in body for line in lines.splitlines())
        return (
            f"uint8_t *const strips = {scratch};\n"
            f"    struct mdc_window window[{len(self.links) - 1}] = {{0}};\n"
            f"    for (int32_t strip = begin; strip < end; ++strip) {{\n"
            f"        {lines}\n    }}\n    return 0;"
        )

    def _bounds(self, index: int) -> str:
        """Which rows of the output of a link a strip needs."""
        if index == len(self.links) - 1:
            rows = self.links[index].source.work.geometry.out[0]
            low = f"strip * {self.strip_rows}"
            return _range(index, low, f"mdc_at_most({low} + {self.strip_rows}, {rows})")
        reader = self.links[index + 1].source.work.geometry
        low, high = (f"{name}{index + 1}" for name in ("low", "high"))
        reach = (reader.kernel[0] - 1) * reader.dilation[0] + 1
        return _range(
            index,
            f"mdc_at_least({low} * {reader.stride[0]} - {reader.pad[0]}, 0)",
            f"mdc_at_most(({high} - 1) * {reader.stride[0]} - {reader.pad[0]} + {reach}, {reader.size[0]})",
        )

    def _link(self, index: int, pointers: Sequence[str]) -> Iterator[str]:
        link, rows = self.links[index], self.links[index].source.work.geometry.out[0]
        source = pointers[0] if index == 0 else _row_zero(self.links[index - 1], index - 1)
        if link.rows:
            plane_bytes = link.rows * link.row_bytes
            where = f"strips + {link.offset_bytes}, {link.source.planes}, {plane_bytes}, {link.row_bytes}"
            yield f"const int32_t first{index} = mdc_slide(&window[{index}], {where}, low{index}, high{index});"
            first, target = f"first{index}", _row_zero(link, index)
        else:
            first, target = f"low{index}", pointers[-1]
        arguments = ", ".join([source, *(pointers[place] for place in link.places), target])
        yield f"for (int32_t group = 0; group < {link.groups}; ++group)"
        yield f"    if ({link.symbol}({arguments}, group * {rows} + {first}, group * {rows} + high{index}))"
        yield "        return 1;"


def _range(index: int, low: str, high: str) -> str:
    return f"const int32_t low{index} = {low};\nconst int32_t high{index} = {high};"


def _row_zero(link: Link, index: int) -> str:
    """Where row 0 of a strip's picture would be."""
    return f"strips + {link.offset_bytes} - (ptrdiff_t)low{index} * {link.row_bytes}"
