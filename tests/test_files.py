"""A file is whole or absent, and reading it never executes anything."""

import hashlib
import os
import pickle
import stat
import threading
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

import dlmath as dm
from dlmath.files import DamagedFileError, read_arrays, replacing, sha256, write_arrays, write_text

ARRAYS = {
    "float": np.linspace(0, 1, 7),
    "file": np.arange(6, dtype=np.int16).reshape(2, 3),  # a name that np.savez cannot store
    "group/flags": np.array([True, False]),
    "scalar": np.float32(0.5),
    "empty": np.zeros((0, 3)),
    "text": np.array(["a", "βγ"]),
    "nan": np.array([np.nan, -np.inf]),
    "complex": np.array([1 + 2j]),
}


def test_arrays_and_metadata_come_back_as_written(tmp_path):
    path = tmp_path / "new folder" / "file.npz"
    write_arrays(path, ARRAYS, {"step": 3, "name": "σ"})
    stored = read_arrays(path)
    assert stored.meta == {"step": 3, "name": "σ"}
    assert list(stored.arrays) == list(ARRAYS)
    for name, value in ARRAYS.items():
        np.testing.assert_array_equal(stored.arrays[name], value)
        assert stored.arrays[name].dtype == np.asarray(value).dtype


def test_jax_arrays_are_stored_as_numpy(tmp_path):
    write_arrays(tmp_path / "a", {"x": jnp.arange(3)})
    np.testing.assert_array_equal(read_arrays(tmp_path / "a").arrays["x"], [0, 1, 2])


def test_numpy_and_zip_read_the_file_as_an_ordinary_archive(tmp_path):
    path = tmp_path / "file.npz"
    write_arrays(path, {"x": np.arange(3)})
    with np.load(path, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["x"], [0, 1, 2])
    assert zipfile.ZipFile(path).testzip() is None


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_arrays(tmp_path / name, ARRAYS, {"k": 1})
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    # A zip keeps times to two seconds, so equal bytes above could be luck: there must be no time of day at all.
    assert {entry.date_time for entry in zipfile.ZipFile(tmp_path / "a").infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_single_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "file"
    write_arrays(path, {"x": np.arange(2, dtype=np.uint8)})
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(DamagedFileError, match=r"file (does not match its checksum|is truncated)"):
            read_arrays(path)


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "file"
    write_arrays(path, {"x": np.arange(2, dtype=np.uint8)})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedFileError, match="delete it and compute it again"):
            read_arrays(path)


def test_objects_are_refused_when_written(tmp_path):
    for value in (np.array([{}]), [object()]):
        with pytest.raises(TypeError, match="array 'x' must hold numbers"):
            write_arrays(tmp_path / "file", {"x": value})
    with pytest.raises(ValueError, match="reserved"):
        write_arrays(tmp_path / "file", {"__meta__": np.zeros(1)})
    assert list(tmp_path.iterdir()) == []


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["DLMATH_TEST_BOMB"],))


def test_a_pickle_inside_a_file_with_a_right_checksum_is_not_executed(tmp_path, monkeypatch):
    monkeypatch.setenv("DLMATH_TEST_BOMB", str(tmp_path / "executed"))
    harmless = tmp_path / "file"
    write_arrays(harmless, {"x": np.zeros(1)})
    trailer = harmless.read_bytes()[-40:-32]
    evil = tmp_path / "evil.npz"
    with zipfile.ZipFile(evil, "w") as archive, archive.open("x.npy", "w") as entry:
        np.lib.format.write_array_header_1_0(entry, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        entry.write(pickle.dumps([_Bomb()]))
    payload = evil.read_bytes()
    evil.write_bytes(payload + trailer + hashlib.sha256(payload).digest())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(evil)
    assert not (tmp_path / "executed").exists()


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent")


def test_an_exception_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with replacing(path) as file:
        file.write("new σ".encode())
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text(encoding="utf-8") == "new σ"


@pytest.mark.skipif(os.name != "posix", reason="permission bits of POSIX")
def test_files_have_ordinary_permissions(tmp_path):
    write_text(tmp_path / "ours", "")
    (tmp_path / "ordinary").write_text("")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    writers = [threading.Thread(target=write_arrays, args=(path, {"x": np.full(1000, value)})) for value in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    x = read_arrays(path).arrays["x"]
    assert (x == x[0]).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # The test vector of FIPS 180-2.
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_public_name_of_the_module():
    assert dm.files.write_arrays is write_arrays
