"""IDX files: every kind of damage is named, none gives an array."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.data.idx import encode_idx, parse_idx, read_idx

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
GOOD = encode_idx(ARRAY)


#: without the time, which would make the tests' names differ from process to process
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_round_trip(tmp_path, pack):
    file = tmp_path / "x"
    file.write_bytes(pack(GOOD))
    found = read_idx(file)
    np.testing.assert_array_equal(found, ARRAY)
    found[0] = 0  # a copy of one's own


def test_a_path_or_bytes_and_what_errors_call_them(tmp_path):
    np.testing.assert_array_equal(read_idx(GOOD), ARRAY)
    file = tmp_path / "x.gz"  # the suffix says nothing
    file.write_bytes(GOOD)
    np.testing.assert_array_equal(read_idx(str(file)), ARRAY)
    file.write_bytes(GOOD[:-1])
    with pytest.raises(DataError, match="x.gz: its header"):
        read_idx(file)
    with pytest.raises(DataError, match="digits: its header"):
        read_idx(GOOD[:-1], name="digits")


def test_other_types():
    data = bytes([0, 0, 0x0D, 1, 0, 0, 0, 2]) + np.array([1.5, -2], ">f4").tobytes()
    np.testing.assert_array_equal(parse_idx(data, "x"), [1.5, -2])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "f.idx: ends at byte 0"),
        (GOOD[:3], "f.idx: ends at byte 3"),
        (b"\x01" + GOOD[1:], "f.idx: not an IDX file: bytes 0-1 are 0100"),
        (GOOD[:2] + b"\x07" + GOOD[3:], "f.idx: byte 2 is 0x07"),
        (GOOD[:3] + b"\x00" + GOOD[4:], "f.idx: byte 3 declares 0 dimensions"),
        (GOOD[:10], "f.idx: byte 3 declares 3 dimensions, but the file has 10 bytes"),
        (GOOD[:-1], r"shape \(2, 3, 4\) \(24 bytes from byte 16 on\), but 23 bytes are there"),
        (GOOD + b"x", r"\(24 bytes from byte 16 on\), but more bytes are there"),
        (GOOD[:4] + b"\xff" * 12 + GOOD[16:], "but 24 bytes are there"),
        (
            bytes([0, 0, 8, 99]) + b"\0\0\0\1" * 99 + b"x",
            "f.idx: bytes 3-399 declare an impossible",
        ),
        (bytes([0, 0, 8, 4, 0, 0, 0, 0]) + b"\xff" * 12, "f.idx: bytes 3-19 declare an impossible"),
        (PACKED + b"x", "f.idx: broken gzip data"),
        (PACKED[:-9], "f.idx: broken gzip data"),
        (PACKED[:12] + b"\xff\xff" + PACKED[14:], "f.idx: broken gzip"),
    ],
)
def test_damage_is_named(data, message):
    with pytest.raises(DataError, match=message):
        parse_idx(data, "f.idx")


@settings(max_examples=200, deadline=None)
@given(data=st.data(), whole=st.sampled_from([GOOD, PACKED]))
def test_no_truncation_gives_an_array(data, whole):
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DataError, match="^x: "):
        parse_idx(whole[:end], "x")


@settings(max_examples=200, deadline=None)
@given(byte=st.integers(0, 15), value=st.integers(0, 255))
def test_a_changed_header_never_gives_another_shape(byte, value):
    changed = GOOD[:byte] + bytes([value]) + GOOD[byte + 1 :]
    try:
        found = parse_idx(changed, "x")
    except DataError:
        return
    assert found.shape == ARRAY.shape


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing.idx: cannot be read: No such file"):
        read_idx(tmp_path / "nothing.idx")
