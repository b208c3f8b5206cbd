"""Sockets to codecs and back; the only room with asyncio protocols, ssl and socket."""
