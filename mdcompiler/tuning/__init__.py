"""Tuning: schedules measured on the machine, kept as records, found again when a network is compiled.

    network -> jobs (a workload under a template) -> candidates built and timed in child processes -> records

Nothing here knows a template or a backend: a backend that can be tuned hands over a `Tuner`.
"""
