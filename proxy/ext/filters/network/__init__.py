"""ext.filters.network"""
