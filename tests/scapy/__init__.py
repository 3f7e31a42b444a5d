"""Layers for Scapy."""
