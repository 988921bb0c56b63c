"""Passes and backends by name: the built-in ones and those that installed packages bring.

A package joins by an entry point in the group `mdcompiler.passes` or `mdcompiler.backends`, e.g. in its
setup.cfg: `[options.entry_points]`, `mdcompiler.backends = mychip = my_package.backend:MyBackend`.
Two claims on one name are an error that names both packages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from mdcompiler.backend import Backend
from mdcompiler.compile_pass import STAGES, Pass
from mdcompiler.errors import PluginError, UnsupportedError

PASS_GROUP = "mdcompiler.passes"
BACKEND_GROUP = "mdcompiler.backends"
_BUILT_IN = "mdcompiler"
T = TypeVar("T")


def backends() -> dict[str, Backend]:
    """Every backend by name. Raises PluginError when a plug-in is broken or claims a taken name."""
    from mdcompiler.backends import builtin_backends

    return _merge(builtin_backends(), BACKEND_GROUP, Backend)  # type: ignore[type-abstract]


def backend(name: str) -> Backend:
    """The backend called `name`. Raises UnsupportedError naming those there are."""
    known = backends()
    if name not in known:
        raise UnsupportedError(
            f"backend {name!r} is not installed; there are {', '.join(sorted(known))}. "
            "Install the package that brings it, or correct the target file."
        )
    return known[name]


def running_backend(name: str) -> Backend:
    """The backend called `name`, to run what it once compiled: plug-ins are looked at for others than built-in ones
    only, which keeps loading quick. Raises UnsupportedError as `backend` does.
    """
    from mdcompiler.backends import builtin_backend

    return builtin_backend(name) or backend(name)


def plugin_passes() -> list[Pass]:
    """Passes that installed packages bring, sorted by name."""
    from mdcompiler.passes import builtin_passes

    merged = _merge({item.name: item for item in builtin_passes()}, PASS_GROUP, Pass)  # type: ignore[type-abstract]
    names = {item.name for item in builtin_passes()}
    return [merged[name] for name in sorted(merged) if name not in names]


def _merge(built_in: dict[str, T], group: str, kind: type[T]) -> dict[str, T]:
    merged = dict(built_in)
    owner = dict.fromkeys(built_in, _BUILT_IN)
    for point in _points(group):
        package = point.dist.name if point.dist else "an unknown package"
        item = _load(point, package, kind)
        name = str(getattr(item, "name", ""))
        if name in owner:
            raise PluginError(
                f"two packages claim the name {name!r} in {group}: {owner[name]} and {package}. "
                "Uninstall one of them, or rename its entry."
            )
        merged[name] = item
        owner[name] = package
    return merged


def _points(group: str) -> Iterable[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda point: (point.name, point.value))


def _load(point: EntryPoint, package: str, kind: type[T]) -> T:
    try:
        factory: Callable[[], Any] = point.load()
        item = factory()
    except Exception as error:
        raise PluginError(
            f"plug-in {point.name!r} of package {package} does not load: {error!r}. Repair or uninstall that package."
        ) from error
    if not isinstance(item, kind):
        raise PluginError(
            f"plug-in {point.name!r} of package {package} is no {kind.__name__}: "
            f"{type(item).__name__} lacks a part of the protocol. See examples/plugin."
        )
    stage = getattr(item, "stage", None)
    if kind is Pass and stage not in STAGES:
        raise PluginError(f"pass {point.name!r} of {package}: stage {stage!r}; one of {', '.join(STAGES)}.")
    return item
