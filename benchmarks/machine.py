"""On what a figure was measured: processor, system, versions, date."""

import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

SHOWN = ("numpy", "numba", "opencv-python-headless", "scikit-image", "tensorflow", "dlib-bin", "joblib")


def versions() -> str:
    """Versions of the libraries that took part."""
    found = []
    for name in SHOWN:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def machine_line(document: dict[str, Any]) -> str:
    """Processor, cores, system, Python, date."""
    info = document["machine_info"]
    cpu = info.get("cpu", {})
    return (
        f"{cpu.get('brand_raw', platform.processor() or info['machine'])}, {cpu.get('count', '?')} core(s); "
        f"{info['system']} {info['release']}, Python {info['python_version']}; {document['datetime'][:10]}"
    )


def this_machine() -> str:
    """Machine, versions and date of this process, in one line."""
    from pytest_benchmark.plugin import pytest_benchmark_generate_machine_info

    document = {"machine_info": pytest_benchmark_generate_machine_info(), "datetime": date.today().isoformat()}
    return f"{machine_line(document)}; {versions()}"
