"""Atomic writing of files, which the runtime has too."""

from clf_runtime.whole_file import refuse_place, whole_file

__all__ = ["refuse_place", "whole_file"]
