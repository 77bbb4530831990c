"""The abacus board as an opmux backend: a device of its own and kernels for the whole core-f32 profile."""

from opmux.plugin import hookimpl


@hookimpl
def opmux_devices():
    from .device import Driver

    return [Driver()]


@hookimpl
def opmux_kernels():
    from .kernels import KERNELS

    return KERNELS


@hookimpl
def opmux_profiles():
    return ["core-f32"]
