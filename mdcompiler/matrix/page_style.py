"""How the page of a matrix looks: dark where the reader's system is, tables that scroll by themselves."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b6570; --paper: #ffffff; --line: #d5dae0;
  --head: #f2f4f7; --good: #1a7f37; --plain: #5b6570; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e7eb; --soft: #9aa5b1; --paper: #14171a; --line: #343b43;
  --head: #1e2328; --good: #5bc97a; --plain: #9aa5b1; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 100rem; background: var(--paper); color: var(--text);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); font-size: .8125rem; font-weight: 400; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; margin: .75rem 0;
  width: fit-content; max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; font-size: .875rem; font-variant-numeric: tabular-nums; }
ul { padding-left: 1.2rem; overflow-wrap: anywhere; }
th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tr:last-child > * { border-bottom: 0; } thead th { background: var(--head); font-weight: 600; }
th[scope=row], .left { text-align: left; } th[scope=row] { font-weight: 600; position: sticky; left: 0;
  background: var(--paper); }
thead th:first-child { position: sticky; left: 0; }
.text { white-space: normal; min-width: 16rem; max-width: 30rem; text-align: left; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .plain { color: var(--plain); }
details { margin: .5rem 0; } summary { cursor: pointer; padding: .35rem 0; }
a { color: inherit; }
"""
