"""Random bits on the pretended GPU: those of the generator's definition, whatever the shape."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.opset.philox import random_words
from tests.backends.cuda.host.runtime import HostRuntime

KEY = np.array([0xDEADBEEF, 0x12345678], np.uint32)
#: The low words wrap within the first blocks.
COUNTER = np.array([0xFFFFFFFE, 0xFFFFFFFF, 7, 0x80000000], np.uint32)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (4096,), (4100 + 3,)], ids=str)
def test_bits_are_those_of_the_definition(gpu: HostRuntime, shape: tuple[int, ...]) -> None:
    found = ox.random_bits(*(ox.asarray(w, device="cuda:0") for w in (KEY, COUNTER)), shape=shape)
    assert (found.numpy() == random_words(KEY, COUNTER, shape)).all()
    assert gpu.launches == ["random_bits"]
