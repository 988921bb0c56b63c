"""Every error a user can meet.

A message has four parts: what was being done, where (file:line, block, pass), the value beside what is
allowed, and what to do. `MdcError` and its children are the user's to mend and exit with 1;
`InternalError` is ours and asks for the dump.
"""

from __future__ import annotations


class MdcError(Exception):
    """The user's input cannot be used as it is."""


class SpecError(MdcError):
    """An architecture spec is malformed or describes no network."""


class ModelError(MdcError):
    """An ONNX model is broken, dynamic, cyclic or too large."""


class WeightsError(MdcError):
    """A weights file does not fit the network: one error that lists every tensor at fault."""


class InputError(MdcError):
    """An array handed to a network does not fit it."""


class ImageError(MdcError):
    """A picture cannot be read."""


class TargetError(MdcError):
    """A target is unknown, malformed, or needs what this machine lacks."""


class UnsupportedError(MdcError):
    """A backend or pass refuses a part of the network, with the reason."""


class ArtifactError(MdcError):
    """An artifact directory is incomplete, altered or made for another machine."""


class OutputError(MdcError):
    """A result cannot be written where the user asked."""


class PluginError(MdcError):
    """An installed plug-in cannot be loaded, or two plug-ins claim one name."""


class MissingToolError(MdcError):
    """An optional package or program is absent; the message holds the command that installs it."""


class RecordsError(MdcError):
    """A file of tuning records is malformed, too large or cannot be read: every bad line by number."""


class TuningError(MdcError):
    """Tuning cannot begin: the machine does not fit the target, or a device does not answer."""


class InternalError(Exception):
    """A promise of the toolkit was broken. Never the user's fault."""
