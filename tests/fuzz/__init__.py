"""Hostile bytes: bounded mutation in the process, and a build under the sanitizers."""
