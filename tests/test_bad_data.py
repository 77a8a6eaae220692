"""Bad input: pictures, archives, and encoded sets that were tampered with. None is decoded blindly or crashes a run."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from doors import png_of
from PIL import Image, PngImagePlugin
from shoestring_trainer.data import DataSet
from shoestring_trainer.failures import BadData
from shoestring_trainer.manifest import read_manifest
from shoestring_trainer.mixture import Mixture
from shoestring_trainer.prepare import build
from shoestring_trainer.prepare.procedural import procedural_set
from shoestring_trainer.prepare.sources import draw, open_picture, read_pictures, try_to_draw
from shoestring_trainer.text import MINILM, verified_model_folder

RED = (255, 0, 0)


def encoded(mode: str, size: tuple[int, int] = (8, 8), form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture = Image.new(mode, size, RED if mode == "RGB" else None)
    picture.save(file, form, **options)
    return file.getvalue()


def with_comment(n_bytes: int) -> bytes:
    note = PngImagePlugin.PngInfo()
    note.add_text("comment", "x" * n_bytes, zip=True)
    return encoded("RGB", pnginfo=note)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


PICTURES = {
    "50,000 by 50,000": (png_of(50_000, 50_000), "pixels"),
    "5,000 by 5,000": (png_of(5_000, 5_000), "5000×5000 pixels"),
    "a truncated PNG": (encoded("RGB", (64, 64))[:-30], "no whole WEBP or PNG"),
    "a truncated WebP": (encoded("RGB", (64, 64), "WEBP", lossless=True)[:-9], "no whole WEBP or PNG"),
    "0 bytes": (b"", "no whole WEBP or PNG"),
    "HTML": (b"<!DOCTYPE html><html>404</html>", "no whole WEBP or PNG"),
    "a truncated JPEG": (encoded("RGB", form="JPEG")[:-20], "no whole WEBP or PNG"),
    "a JPEG in CMYK": (encoded("CMYK", form="JPEG"), "no whole WEBP or PNG"),
    "an animated GIF": (encoded("P", form="GIF", save_all=True, append_images=[Image.new("P", (8, 8), 9)]), "no whole"),
    "an animated WebP": (
        encoded("RGB", form="WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]), "2 frames"),
    "16 bits of grey": (encoded("I;16"), "mode I;16"),
    "a comment of 10 MB": (with_comment(10_000_000), "no whole WEBP or PNG"),
    "an SVG that is none": ("<svg", "no SVG"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), PICTURES.values(), ids=PICTURES)
def test_what_is_no_picture_is_refused_before_it_takes_memory(content, words):
    with pytest.raises(BadData, match=words):
        draw(content, 8)
    assert words in str(try_to_draw(content, 8))


def test_pictures_of_other_kinds_are_read_alike():
    for content in (encoded("RGB"), encoded("RGB", form="WEBP", lossless=True), encoded("RGB", compress_level=0)):
        assert (draw(content, 8) == RED).all()
    for mode in ("1", "L", "LA", "P", "RGBA"):
        assert draw(encoded(mode), 8).shape == (8, 8, 3)
    sideways = encoded("RGB", (8, 4), exif=exif(6))
    assert open_picture(sideways).size == (4, 8)  # turned upright, as a viewer shows it


# ── archives ────────────────────────────────────────────────────────────────────────────────────


def archive(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["../1f600.webp", "/etc/1f600.webp", "a/1f600.webp", "1f600.png", "x\n.webp", "1f600.webp/"]
)
def test_an_archive_with_another_name_in_it_is_refused_whole(tmp_path, name):
    with pytest.raises(BadData, match=r"which is no picture of it"):
        read_pictures(archive(tmp_path / "p.zip", {"1f600.webp": b"x", name: b"x"}))
    assert [p.name for p in tmp_path.iterdir()] == ["p.zip"]


def test_the_names_that_the_package_uses_are_read(tmp_path):
    names = ("1f600", "1f468-200d-1f469", "1f3f4-e0067_e0062_e0065_e006e_e0067")
    found = read_pictures(archive(tmp_path / "p.zip", {f"{name}.webp": name.encode() for name in names}))
    assert sorted(found.values()) == sorted(name.encode() for name in names)


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path):
    with pytest.raises(BadData, match="of 9000000 bytes"):
        read_pictures(archive(tmp_path / "one.zip", {"1f600.webp": b"\0" * 9_000_000}))
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as file:
        for i in range(200):
            file.writestr(f"{i:x}.webp", b"x")
            file.filelist[i].file_size = 4_000_000  # what its directory claims
    with pytest.raises(BadData, match="unpacks to 800000000 bytes"):
        read_pictures(tmp_path / "many.zip")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>"])
def test_a_file_that_is_no_archive_is_refused_with_what_to_do(tmp_path, content):
    (tmp_path / "p.zip").write_bytes(content)
    with pytest.raises(BadData, match="fetch it again"):
        read_pictures(tmp_path / "p.zip")
    with pytest.raises(BadData, match="fetch it again"):
        read_pictures(tmp_path / "none.zip")


def test_a_damaged_picture_is_counted_by_name_and_the_others_are_built(tmp_path, capsys):
    packages = tmp_path / "packages"
    data = [{"hexcode": f"{i:x}", "label": f"thing {i}", "group": 1, "tags": [], "order": i} for i in range(40)]
    pictures = {f"{i:x}.webp": encoded("RGB", (32, 32), "WEBP") for i in range(40)}
    pictures["7.webp"] = pictures["7.webp"][:-9]
    for folder in ("fluent-emoji-3d", "fluent-emoji-flat", "noto", "twemoji", "emojibase"):
        (packages / folder).mkdir(parents=True)
        (packages / folder / "icons.json").write_text('{"icons": {}}')
        (packages / folder / "chars.json").write_text("{}")
        (packages / folder / "info.json").write_text('{"author": {"name": "nobody"}}')
    archive(packages / "fluent-emoji-3d" / "pictures.zip", pictures)
    (packages / "emojibase" / "data.json").write_text(json.dumps(data))
    (packages / "emojibase" / "messages.json").write_text(
        '{"groups": [{"order": 1, "message": "things", "key": "things"}]}'
    )
    facts = {folder.name: {"package": folder.name, "version": "1", "license": "MIT"} for folder in packages.iterdir()}
    (packages / "packages.json").write_text(json.dumps(facts))
    params = {"sizes_px": [8], "val_fraction": 0.2, "holdout_fraction": 0.0, "seed": 0, "caption_tags": 0}
    manifest = build.build(packages, tmp_path / "raw", params)
    assert manifest["n_images"] == 39 and list(manifest["damaged"]) == ["3d thing 7"] == manifest["dropped"]
    assert np.load(tmp_path / "raw" / "images-8.npy").shape == (39, 8, 8, 3)
    (packages / "fluent-emoji-3d" / "pictures.zip").write_bytes(b"")
    assert build.main([str(packages), str(tmp_path / "raw")]) == 1
    assert capsys.readouterr().err.startswith("bad_data: ")


# ── encoded sets ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "procedural-16"
    procedural_set(copies=1).write(path)
    return path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "set"))


def changed(name: str, change):
    def spoil(folder: Path) -> None:
        file = folder / name
        if name.endswith(".npy"):
            np.save(file, change(np.load(file)), allow_pickle=True)
        else:
            file.write_text(json.dumps(change(json.loads(file.read_bytes()))))

    return spoil


def written(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def header_of(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


class Evil:
    """Unpickling it would end the process."""

    def __reduce__(self) -> tuple:
        return sys.exit, (99,)


DAMAGE = {
    "a picture less": (changed("images.npy", lambda a: a[:-1]), "the arrays do not"),
    "a caption less": (changed("captions.json", lambda c: c[:-1]), "captions"),
    "an image without caption": (changed("items.json", lambda i: [*i[:-1], {**i[-1], "caption": 999}]), "caption"),
    "an image with caption -1": (changed("items.json", lambda i: [{**i[0], "caption": -1}, *i[1:]]), "caption"),
    "captions of no image, without states": (changed("captions.json", lambda c: [*c, "nobody"]), "captions its states"),
    "no image to train on": (
        lambda f: (changed("items.json", lambda i: [{**it, "split": "val"} for it in i])(f),
                   changed("manifest.json", lambda m: {**m, "n_train": 0})(f)), "holds no training image"),
    "images to train on that are others'": (
        changed("items.json", lambda i: [{**it, "split": "val"} for it in i]), "0 training images"),
    "items that are none": (changed("items.json", lambda i: [3] * len(i)), "damaged"),
    "items in a mapping": (changed("items.json", lambda i: {"a": 1}), "damaged"),
    "items nested too deep": (written("items.json", b"[" * 100_000), "damaged"),
    "captions of bytes": (written("captions.json", b"\xff\xfe"), "damaged"),
    "pictures of another size": (changed("images.npy", lambda a: a[:, :8]), "the manifest says"),
    "pictures of floats": (changed("images.npy", lambda a: a.astype(np.float64)), "the arrays hold"),
    "pictures in a row": (changed("images.npy", lambda a: a.reshape(-1)), "damaged"),
    "pictures of objects": (changed("images.npy", lambda a: np.array([Evil()] * len(a), dtype=object)), "damaged"),
    "an empty array": (written("images.npy", b""), "damaged"),
    "half an array": (lambda f: (f / "images.npy").write_bytes((f / "images.npy").read_bytes()[:500]), "damaged"),
    "an array that claims 2^40 pictures": (
        lambda f: (f / "images.npy").write_bytes(header_of((2**40, 16, 16, 3))), "damaged"),
    "states that end early": (changed("text.npy", lambda a: a[:-1]), "text.npy"),
    "offsets that go back": (changed("text_offsets.npy", lambda a: a[::-1].copy()), "states"),
    "offsets of one": (changed("text_offsets.npy", lambda a: a[:1]), "states"),
    "no encoder": (changed("manifest.json", lambda m: {k: v for k, v in m.items() if k != "text"}), "damaged"),
    "an autoencoder elsewhere": (
        changed("manifest.json", lambda m: {**m, "autoencoder": {"path": "../../x", "sha256": "0"}}), "'../../x'"),
    "another digest": (changed("manifest.json", lambda m: {**m, "digest": "0" * 64}), "has digest 000000"),
    "a manifest of 100 MB": (lambda f: os.truncate(f / "manifest.json", 100_000_000), "1 MiB"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_run_on_a_damaged_set_fails_as_bad_data_with_what_to_do(whole, folder, spoil, words):
    config = read_manifest(whole).model_copy(update={"path": str(folder)})
    Mixture(config, 0)
    spoil(folder)
    with pytest.raises(BadData, match=words) as caught:
        Mixture(config, 0)
    assert "build" in str(caught.value) and str(folder) in str(caught.value)


def test_a_flipped_bit_of_a_picture_is_found_where_a_set_is_verified(folder):
    content = bytearray((folder / "images.npy").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "images.npy").write_bytes(content)
    with pytest.raises(ValueError, match="a file was changed"):
        DataSet.open(folder, verify=True)


@pytest.mark.parametrize("package", ["evil.model", "../evil", "os.path", ""])
def test_a_manifest_cannot_have_a_package_imported(package, tmp_path, monkeypatch):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("raise SystemExit(99)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="not installed"):
        verified_model_folder(MINILM | {"package": package})
    assert "evil" not in sys.modules
