"""ext.filters"""
