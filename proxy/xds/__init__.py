"""Configuration that comes while we run: from files that are swapped, from control planes (xDS)."""
