"""ext.trace_samplers"""
