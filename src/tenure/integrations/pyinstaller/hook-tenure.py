"""PyInstaller's hook for this package."""

from PyInstaller.utils.hooks import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    collect_data_files,
)

datas = collect_data_files("tenure")
