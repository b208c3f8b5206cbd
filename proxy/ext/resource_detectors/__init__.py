"""ext.resource_detectors"""
