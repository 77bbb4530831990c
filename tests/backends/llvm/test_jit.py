"""Compiling IR text: native addresses, the object cache, errors, threads."""

import ctypes
import gc
import subprocess
import sys
import threading
import weakref

import pytest

from opmux.backends.llvm import jit
from opmux.backends.llvm.jit import CompileError, CompileOptions, compile_ir, object_key
from opmux.backends.llvm.target import cache_sizes, host_target
from opmux.core.filecache import FileCache


def _adds(constant):
    return f"define i64 @f(i64 %x) {{\n  %y = add i64 %x, {constant}\n  ret i64 %y\n}}\n"


def _run(module, argument):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(module.address("f"))(argument)


def test_native_code_runs():
    assert _run(compile_ir(_adds(41), ["f"], cache=None), 1) == 42


def test_the_same_text_is_compiled_once_while_somebody_holds_it():
    first = compile_ir(_adds(2), ["f"], cache=None)
    assert compile_ir(_adds(2), ["f"], cache=None) is first
    assert compile_ir(_adds(2), ["f"], CompileOptions(speed_level=0), cache=None) is not first


def test_code_is_unloaded_when_nobody_holds_it():
    module = compile_ir(_adds(3), ["f"], cache=None)
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None
    assert _run(compile_ir(_adds(3), ["f"], cache=None), 4) == 7


def test_a_second_process_finds_the_object_on_disk(tmp_path):
    store = FileCache(tmp_path / "objects")
    first = compile_ir(_adds(5), ["f"], cache=store)
    assert not first.from_cache
    del first
    gc.collect()
    second = compile_ir(_adds(5), ["f"], cache=store)
    assert second.from_cache
    assert _run(second, 1) == 6


def test_an_object_that_cannot_be_linked_is_compiled_again(tmp_path):
    store = FileCache(tmp_path / "objects")
    store.put(object_key(_adds(6), host_target(), CompileOptions()), b"not an object file")
    module = compile_ir(_adds(6), ["f"], cache=store)
    assert not module.from_cache
    assert _run(module, 1) == 7


@pytest.mark.parametrize(
    ("ir", "stage"),
    [
        ("define i64 @f(i64 %x) { ret i64 %nothing }", "parse"),
        (
            "define i64 @f(i64 %x) {\n br label %a\na:\n %y = add i64 %z, 1\n %z = add i64 %y, 1\n ret i64 %y\n}",
            "verify",
        ),
        (
            "declare i64 @no_such_function(i64)\n"
            + _adds(1).replace("add i64 %x, 1", "call i64 @no_such_function(i64 %x)"),
            "link",
        ),
        ("define i64 @other() {\n ret i64 1\n}", "link"),
    ],
    ids=["undefined value", "use before definition", "undefined function", "missing symbol"],
)
def test_refused_code_is_a_compile_error_with_its_text(ir, stage):
    with pytest.raises(CompileError, match=stage) as caught:
        compile_ir(ir, ["f"], cache=None)
    assert (caught.value.stage, caught.value.ir) == (stage, ir)


def test_an_address_that_was_not_asked_for_is_a_key_error():
    with pytest.raises(KeyError):
        compile_ir(_adds(7), ["f"], cache=None).address("g")


def test_many_threads_may_compile():
    results = {}

    def work(number):
        results[number] = _run(compile_ir(_adds(100 + number % 3), ["f"], cache=None), 1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: 101 + number % 3 for number in range(12)}


def test_every_part_of_the_key_counts():
    host = host_target()
    base = object_key("ir", host, CompileOptions())
    others = [
        object_key("ir2", host, CompileOptions()),
        object_key("ir", host, CompileOptions(vectorize=False)),
        object_key("ir", host, CompileOptions(unroll=False)),
        object_key("ir", jit.Target(**{**_fields(host), "cpu": "other"}), CompileOptions()),
        object_key("ir", jit.Target(**{**_fields(host), "features": "+other"}), CompileOptions()),
        object_key("ir", jit.Target(**{**_fields(host), "llvm_version": "0"}), CompileOptions()),
    ]
    assert len({base, *others}) == 7


def _fields(target):
    return {name: getattr(target, name) for name in target.__slots__}


def test_the_package_does_not_load_llvmlite_before_it_is_used():
    modules = "target, jit, cache, matmul_call"
    code = f"import sys; from opmux.backends.llvm import {modules}; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cache_sizes_come_from_sysfs_and_fall_back(tmp_path):
    for number, (level, kind, size) in enumerate([(1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2M")]):
        entry = tmp_path / f"index{number}"
        entry.mkdir()
        for name, text in (("level", str(level)), ("type", kind), ("size", size)):
            (entry / name).write_text(text + "\n")
    sizes = cache_sizes(tmp_path)
    assert (sizes.l1, sizes.l2) == (48 << 10, 2 << 20)
    (tmp_path / "index0" / "size").write_text("nonsense")
    assert cache_sizes(tmp_path).l1 > 0


def test_nothing_is_compiled_where_an_interrupt_may_come(monkeypatch):
    seen = []
    monkeypatch.setattr(jit, "_compile", lambda *given: seen.append(threading.current_thread()))
    jit.compile_ir("", ())
    assert seen[0] is not threading.main_thread()


def test_a_failure_in_the_compiling_thread_is_the_callers():
    with pytest.raises(CompileError, match="parse"):
        jit.compile_ir("no code", ("f",), cache=None)
