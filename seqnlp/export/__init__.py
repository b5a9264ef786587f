"""The same model in another runtime, verified while it is exported: one file per target. A file put here is found."""

import importlib
import pkgutil

from .base import EXPORTS, MANIFEST, Check, Export, ExportError, create_export, export


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["EXPORTS", "MANIFEST", "Check", "Export", "ExportError", "create_export", "export"]
