"""Which files make a set, and whether all of them are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sciml.data.manifest import Manifest, again, manifest_of, manifest_path, remade

SUFFIXES = (".h5", ".hdf5", ".nc", ".nc4", ".cdf", ".mat", ".pt", ".npy", ".npz", ".csv", ".txt", ".gsd", ".h5md")
"""How names of files end that may hold samples. What they are is seen from their content."""

_OTHER = ("stats.yaml", "readme.txt", "license.txt")


def files_of(path: Path, split: str | None = None) -> tuple[list[Path], str | None]:
    """The files of a set, and the split that is still to be looked for inside of them.

    Of a folder: its shards; or the files in it, those of its subfolder `split` or `data/split`; or where it holds none and no
    splits either, those anywhere below.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: no files, or several splits and none chosen.
        OSError: the folder cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: nothing is there, see that the path is right; `sciml generate CARD --out FOLDER` makes a new set"
        )
    if not path.is_dir():
        return [path], split
    if split is not None:
        for folder in (path / split, path / "data" / split):
            if folder.is_dir():
                return files_of(folder)
    files = _files_in(path)
    if files:
        return files, split
    found = splits_of(path)
    if split is not None and found:
        raise ValueError(f"{path}: got split {split!r}, it holds {', '.join(found)}")
    if found:
        home = path if (path / found[0]).is_dir() else path / "data"
        raise ValueError(f"{path}: holds the splits {', '.join(found)}; open one of them, such as {home / found[0]}")
    files = sorted(
        (file for file in path.rglob("*") if _may_hold_samples(file)), key=lambda file: (file.parent, _by_numbers(file))
    )
    if not files:
        raise ValueError(
            f"{path}: holds no shard-*.h5 and no other file with samples ({', '.join(SUFFIXES)}); give the folder of a split, "
            "`sciml generate CARD --out FOLDER` makes one"
        )
    return files, split


def splits_of(folder: Path) -> list[str]:
    """Names of the splits that a folder holds as subfolders; none where it is a split itself, or no folder."""
    if not folder.is_dir() or _files_in(folder):
        return []
    known = ("train", "valid", "validation", "val", "test")
    for home in (folder, folder / "data"):
        if not home.is_dir():
            continue
        inside = sorted(child for child in home.iterdir() if child.is_dir())
        found = [child.name for child in inside if any(child.glob("shard-*.h5")) or (child.name in known and _files_in(child))]
        if found:
            return found
    return []


def manifest_for(file: Path) -> Manifest | None:
    """The manifest beside a file, if there is one.

    Raises:
        ValueError: it is damaged.
        OSError: the file has not the size that it says.
    """
    said, size = manifest_of(file), file.stat().st_size
    if said is not None and said["size"] != size:
        raise OSError(
            f"{file}: has {size} bytes, its manifest says {said['size']}; it is truncated or not its own. {remade(file)}"
        )
    return said


def check_complete(folder: Path, files: Sequence[Path], manifests: Sequence[Manifest | None]) -> None:
    """The files are all shards of one split of one card, each in its place, and every one was finished.

    Raises:
        ValueError: they are not.
    """
    known: dict[int, Manifest] = {}
    for file, manifest in zip(files, manifests, strict=True):
        if manifest is None:
            raise ValueError(f"{file}: has no manifest {manifest_path(file).name}, it was not finished; {again(file)}")
        number = _number(file, manifest, len(files))
        first = next(iter(known.values()), manifest)
        for key in ("card", "split", "shards"):
            if manifest.get(key) != first.get(key):
                raise ValueError(
                    f"{file}: its {key} is not that of {files[0].name}; the folder mixes two sets, keep the shards of one"
                )
        known[number] = manifest
    shards = next(iter(known.values())).get("shards", len(files))
    missing = sorted(set(range(shards if isinstance(shards, int) else len(files))) - known.keys())
    if missing:
        raise ValueError(
            f"{folder}: {len(missing)} of {shards} shards are missing, first shard-{missing[0]:05d}.h5; {again(files[0])}"
        )
    expected = known[0]["first_sample"]
    for file, number in zip(files, sorted(known), strict=True):
        first_sample, samples = (int(str(known[number][key])) for key in ("first_sample", "samples"))
        if first_sample != expected:
            raise ValueError(
                f"{file}: begins with sample {first_sample}, the shards before it end at {expected}; the folder mixes two sets"
            )
        expected = first_sample + samples


def _number(file: Path, manifest: Manifest, files: int) -> int:
    """The number of a shard, by its name and by its manifest."""
    match = re.fullmatch(r"shard-(\d+)\.h5", file.name)
    number, shards = int(match[1]) if match else -1, manifest.get("shards", files)
    if manifest["file"] != file.name or manifest.get("shard", number) != number:
        raise ValueError(
            f"{file}: its manifest is of {manifest['file']}, shard {manifest.get('shard')}; it was renamed or copied, remove it"
        )
    if not isinstance(shards, int) or not 0 <= number < shards:
        raise ValueError(f"{file}: is no shard of {shards}, which are shard-00000.h5 and so on; remove it")
    return number


def _files_in(folder: Path) -> list[Path]:
    """Its shards by number, however many; without shards whatever may hold samples."""
    shards = sorted(folder.glob("shard-*.h5"), key=lambda file: (len(file.name), file.name))
    return shards or sorted((file for file in folder.iterdir() if _may_hold_samples(file)), key=_by_numbers)


def _by_numbers(file: Path) -> list[tuple[int, str]]:
    """Names in the order of the numbers in them: part-2 before part-10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", file.name)]


def _may_hold_samples(file: Path) -> bool:
    return (
        file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.name.lower() not in _OTHER and file.is_file()
    )


__all__ = ["SUFFIXES", "check_complete", "files_of", "manifest_for", "splits_of"]
