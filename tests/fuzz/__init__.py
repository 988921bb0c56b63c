"""Inputs that nobody would write by hand, and what the toolkit makes of them.

`python -m tests.fuzz mutate` damages every kind of input, `networks` compiles random networks and compares them with
the arbiter, `nodes` compiles ONNX's own node tests and writes `docs/onnx-operators.md`.

It lives beside the tests and does not ship: its first inputs come out of the tests' own writers of TFLite files,
checkpoints and graphs. Authors of plug-ins have `python -m mdcompiler.conformance`.
"""
