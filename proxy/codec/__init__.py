"""Bytes to messages and back; sans-IO. Knows no socket, no loop, no configuration message."""
