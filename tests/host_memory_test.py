"""Memory that is free goes back to the system."""

import os
import platform

import pytest

from seqgan_jax.training import host_memory


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
def test_what_is_free_goes_back():
    pieces = [bytearray(1000) for _ in range(200_000)]
    kept = pieces[::1000]  # so that the heap cannot shrink by itself
    del pieces
    before = resident_bytes()
    host_memory.release()
    assert before - resident_bytes() > 50e6
    assert len(kept) == 200


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(host_memory.sys, "platform", "darwin")
    monkeypatch.setattr(host_memory.ctypes, "CDLL", None)
    host_memory.release()
