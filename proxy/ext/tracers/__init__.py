"""ext.tracers"""
