"""Helpers that several packages of tests use; one purpose a module."""
