"""Atomic writing of files, which the runtime has too."""

from clf_runtime.whole_file import made_folder, refuse_place, whole_file

__all__ = ["made_folder", "refuse_place", "whole_file"]
