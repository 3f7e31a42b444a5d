"""Captures explained."""
