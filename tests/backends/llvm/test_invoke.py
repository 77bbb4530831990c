"""Calling native code: statuses, arguments, threads."""

import threading

import pytest

from opmux.backends.llvm.invoke import invoker
from opmux.backends.llvm.jit import compile_ir

SUM = """
define i32 @f(ptr %buffers, ptr %params, ptr %queue) {
  %a = load ptr, ptr %buffers
  %next = getelementptr ptr, ptr %buffers, i64 1
  %b = load ptr, ptr %next
  %x = ptrtoint ptr %a to i32
  %y = ptrtoint ptr %b to i32
  %z = ptrtoint ptr %params to i32
  %s = add i32 %x, %y
  %t = sub i32 %s, %z
  ret i32 %t
}
"""


@pytest.fixture(scope="module")
def entry():
    module = compile_ir(SUM, ["f"], cache=None)
    yield module.address("f")
    del module


@pytest.mark.parametrize("brief", [False, True])
def test_addresses_arrive_in_order_and_the_status_comes_back(entry, brief):
    invoke = invoker(brief=brief)
    assert invoke(entry, 5, 40, 7) == 42
    assert invoke(entry, 50, 7, 40) == -3


@pytest.mark.parametrize("wrong", ["7", 1.5, None, object()])
def test_what_is_no_address_is_refused_before_the_call(entry, wrong):
    with pytest.raises(TypeError):
        invoker()(entry, 0, 1, wrong)
    with pytest.raises(OverflowError):
        invoker()(entry, 0, 1, 1 << 70)


def test_other_threads_run_meanwhile():
    # The code waits for a flag that another Python thread sets: with the lock held it would wait for ever.
    import ctypes

    ir = """
define i32 @f(ptr %buffers, ptr %params, ptr %queue) {
entry:
  %flag = load ptr, ptr %buffers
  br label %wait
wait:
  %left = phi i64 [ 20000000000, %entry ], [ %less, %wait ]
  %less = sub i64 %left, 1
  %seen = load volatile i32, ptr %flag
  %set = icmp ne i32 %seen, 0
  %over = icmp eq i64 %less, 0
  %stop = or i1 %set, %over
  br i1 %stop, label %done, label %wait
done:
  ret i32 %seen
}
"""
    module = compile_ir(ir, ["f"], cache=None)
    flag = ctypes.c_int32(0)
    timer = threading.Timer(0.05, lambda: setattr(flag, "value", 1))
    timer.start()
    assert invoker()(module.address("f"), 0, ctypes.addressof(flag)) == 1
    timer.join()
