"""ext.propagators"""
