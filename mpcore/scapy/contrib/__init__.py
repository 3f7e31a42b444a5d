"""What Scapy lists and loads by `load_contrib`; see `scapy_ext` of the package."""
