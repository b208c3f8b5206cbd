"""Compressor libraries: what filters that compress bodies are given by name."""
