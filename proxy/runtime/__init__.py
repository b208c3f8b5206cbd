"""Envoy's layered runtime: values that change while the proxy runs, without a new configuration.

``Layer``s (static, disk, admin) are put on top of one another into a ``Snapshot``; ``Runtime`` makes a new one when a
layer has changed and refreshes every ``Slot`` that somebody holds. Who serves requests holds a slot and reads its
attribute; nobody looks a key up by name while serving. Knows no file, no loop and no clock: the disk is read by who
owns the process.

    entry.py     one value, in every form in which it may be asked for
    layers.py    where values come from
    snapshot.py  all layers at one moment
    slots.py     one value that follows the snapshots
    runtime.py   the layers of this process, its stats
    config.py    LayeredRuntime and the Runtime* messages of the API, compiled
"""
