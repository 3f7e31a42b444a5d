"""The laboratory: two hosts as network namespaces, shaped links between them, programs measured inside."""
