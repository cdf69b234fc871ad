#!/usr/bin/env python3
"""Packs the binary into a wheel, so that pip puts it on PATH. The same binary and date give the same bytes.

usage: wheel.py CARGO.toml README.md BINARY PLATFORM[.PLATFORM...] FOLDER LICENCE...

The date is SOURCE_DATE_EPOCH, in seconds. Prints the path of the wheel.
"""

import base64
import hashlib
import os
import sys
import time
import tomllib
import zipfile
from pathlib import Path

# The earliest date that zip can store.
EARLIEST = 315532800


def metadata(package, readme):
    return "\n".join([
        "Metadata-Version: 2.3",
        f"Name: {package['name']}",
        f"Version: {package['version']}",
        f"Summary: {package['description']}",
        f"Keywords: {','.join(package['keywords'])}",
        f"License: {package['license']}",
        "Classifier: Environment :: Console",
        "Classifier: Operating System :: POSIX :: Linux",
        "Requires-Python: >=3.7",
        "Description-Content-Type: text/markdown; charset=UTF-8",
        "",
        readme,
    ])


def tags(platforms):
    return "\n".join([
        "Wheel-Version: 1.0",
        "Generator: td-braze-cohort scripts/wheel.py",
        "Root-Is-Purelib: false",
        *(f"Tag: py3-none-{platform}" for platform in platforms.split(".")),
        "",
    ])


def record(files, own_name):
    def line(name, data):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return f"{name},sha256={digest},{len(data)}"

    return "\n".join([*(line(name, data) for name, data, _ in files), f"{own_name},,", ""])


def write(path, files, date):
    when = time.gmtime(max(date, EARLIEST))[:6]
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data, mode in files:
            entry = zipfile.ZipInfo(name, when)
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data, compresslevel=9)


def main():
    manifest, readme, binary, platforms, folder, *licences = sys.argv[1:]
    package = tomllib.loads(Path(manifest).read_text(encoding="utf-8"))["package"]
    name = package["name"]
    stem = f"{name.replace('-', '_')}-{package['version']}"
    info = f"{stem}.dist-info"
    files = [
        (f"{stem}.data/scripts/{name}", Path(binary).read_bytes(), 0o755),
        (f"{info}/METADATA", metadata(package, Path(readme).read_text(encoding="utf-8")).encode(), 0o644),
        (f"{info}/WHEEL", tags(platforms).encode(), 0o644),
        *((f"{info}/licenses/{Path(licence).name}", Path(licence).read_bytes(), 0o644) for licence in licences),
    ]
    files.append((f"{info}/RECORD", record(files, f"{info}/RECORD").encode(), 0o644))
    path = Path(folder) / f"{stem}-py3-none-{platforms}.whl"
    write(path, files, int(os.environ["SOURCE_DATE_EPOCH"]))
    print(path)


if __name__ == "__main__":
    main()
