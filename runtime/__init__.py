"""Faces and wiring: CLI, Ray cluster, session hosts, settings. The only room that knows Ray.

Invariant: no other room imports this one."""

__version__ = "0.1.0"
