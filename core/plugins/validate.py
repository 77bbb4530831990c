"""Check all that a plugin offers before any of it is registered, then register all of it or nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..collectives.communicator import Communicator
from ..devices.device import DEVICES, Device, DeviceTable
from ..devices.driver import DeviceDriver, DeviceInfo
from ..dispatch.registry import REGISTRY, Contribution, Registry
from ..dispatch.scalars import forget_constants
from ..errors import OpmuxError
from ..kernel import Accepts, CostTerms, Kernel, Promises
from .examine import Offer
from .manifest import DEVICE_KIND
from .quarantine import QuarantineError, QuarantineReason, Stage, guarded, refusal


def _methods(protocol: type) -> dict[str, int]:
    """Return the methods of a protocol, with the number of arguments that the host passes."""
    return {
        name: len(inspect.signature(method).parameters) - 1
        for name, method in vars(protocol).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


_DRIVER_METHODS: Final = _methods(DeviceDriver)
_COMMUNICATOR_METHODS: Final = _methods(Communicator)
_COMMUNICATOR_FIELDS: Final = (("name", str), ("process", int), ("processes", int))
#: Faults that a message names; the record's traceback has them all.
_SHOWN: Final = 4
_KERNEL_FIELDS: Final[tuple[tuple[str, type], ...]] = (
    ("name", str),
    ("op", str),
    ("device", str),
    ("accepts", Accepts),
    ("promises", Promises),
    ("cost", CostTerms),
    ("priority", int),
)


def contribution(name: str, version: str, offer: Offer) -> Contribution:
    """Return an offer in the registry's form."""
    ask = functools.cache(lambda: communicators(name, offer))
    return Contribution(name, version, offer.kernels, offer.compilers, offer.profiles, ask)


def communicators(name: str, offer: Offer) -> tuple[Communicator, ...]:
    """Ask a plugin for its communicators and check them.

    Raises:
        OpmuxError: what the plugin itself says, such as what is missing.
        QuarantineError: whatever else goes wrong in it, or every fault of what it returned.
    """
    try:
        found = offer.communicators()
    except QuarantineError as error:
        raise error.__cause__ if isinstance(error.__cause__, OpmuxError) else error from None
    with guarded(Stage.VALIDATION, f"validating the communicators of {name}"):
        faults = tuple(_communicator_faults(found))
    if faults:
        message = f"{name}: {'; '.join(faults[:_SHOWN])}"
        raise refusal(Stage.VALIDATION, QuarantineReason.INVALID, message, detail="\n".join(faults), faults=faults)
    return found


def check(
    name: str,
    offer: Offer,
    claimed: Sequence[str] | None,
    *,
    registry: Registry = REGISTRY,
    devices: DeviceTable = DEVICES,
) -> None:
    """Check everything that a plugin offers.

    Args:
        name: the backend's name.
        offer: what its hooks returned.
        claimed: the device kinds that its manifest claims; None where there is no manifest.
        registry: where it would be registered, with the ops that exist.
        devices: the devices present.

    Raises:
        QuarantineError: naming every fault.
    """
    with guarded(Stage.VALIDATION, f"validating {name}"):
        faults = [*_device_faults(name, offer.devices, claimed, devices), *_compiler_faults(offer)]
        wrong = list(_kernel_faults(offer.kernels))
        faults += wrong or registry.faults(contribution(name, "", offer))
        faults += [f"profile {p!r} is not a string" for p in offer.profiles if not isinstance(p, str)]
    if faults:
        more = len(faults) - _SHOWN
        shown = "; ".join(faults[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        message = f"{name}: {len(faults)} fault(s) in what it registers: {shown}"
        raise refusal(
            Stage.VALIDATION, QuarantineReason.INVALID, message, detail="\n".join(faults), faults=tuple(faults)
        )


def commit(name: str, version: str, offer: Offer) -> None:
    """Register a checked offer; if anything fails, nothing of it stays.

    Raises:
        QuarantineError: the failure.
    """
    with guarded(Stage.VALIDATION, f"registering {name}"):
        try:
            indices: dict[str, int] = {}
            for driver in offer.devices:
                index = indices.setdefault(driver.info.kind, 0)
                DEVICES.add(Device(driver, index, name))
                indices[driver.info.kind] += 1
            REGISTRY.add(contribution(name, version, offer))
        except BaseException:
            withdraw(name)
            raise


def withdraw(name: str) -> None:
    """Forget a backend's devices and kernels; arrays on its devices stay as they are."""
    DEVICES.drop(name)
    REGISTRY.drop(name)
    forget_constants(name)


def _device_faults(
    name: str, drivers: Sequence[Any], claimed: Sequence[str] | None, devices: DeviceTable
) -> Iterator[str]:
    owners = {device.kind: device.owner for device in devices}
    for position, driver in enumerate(drivers):
        where = f"device {position} ({type(driver).__name__})"
        info = getattr(driver, "info", None)
        kind: object = getattr(info, "kind", None)
        if not isinstance(info, DeviceInfo):
            yield f"{where}: info is {info!r}, not a DeviceInfo"
        elif not isinstance(kind, str) or not DEVICE_KIND.fullmatch(kind):
            yield f"{where}: kind {kind!r} is not a lower-case word"
        elif owners.get(kind, name) != name:
            yield f"{where}: kind {kind!r} is owned by {owners[kind]} already"
        elif claimed is not None and kind not in claimed:
            yield f"{where}: kind {kind!r} is not among the manifest's devices ({', '.join(claimed) or 'none'})"
        for method, arguments in _DRIVER_METHODS.items():
            yield from _method_faults(where, driver, method, arguments)


def _method_faults(where: str, owner: object, method: str, arguments: int) -> Iterator[str]:
    """Yield a fault unless *owner* has this method and it takes that many positional arguments."""
    function = getattr(owner, method, None)
    if not callable(function):
        yield f"{where}: it has no method {method}"
        return
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a compiled function; the call itself will say
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        yield f"{where}: {method}{signature} cannot be called with {arguments} argument(s)"


def _kernel_faults(kernels: Sequence[object]) -> Iterator[str]:
    """Yield the faults of type; what the registry checks relies on the types."""
    for position, kernel in enumerate(kernels):
        if not isinstance(kernel, Kernel):
            yield f"kernel {position} is {kernel!r}, not a Kernel"
            continue
        where = f"kernel {kernel.name!r}"
        for field, wanted in _KERNEL_FIELDS:
            value = getattr(kernel, field)
            if not isinstance(value, wanted):
                yield f"{where}: {field} is {value!r}, not {wanted.__name__}"
        yield from _method_faults(where, kernel, "prepare", 1)


def _compiler_faults(offer: Offer) -> Iterator[str]:
    for position, compiler in enumerate(offer.compilers):
        where = f"region compiler {position} ({type(compiler).__name__})"
        if not isinstance(getattr(compiler, "device", None), str):
            yield f"{where}: device is not the name of a device kind"
        yield from _method_faults(where, compiler, "compile", 2)


def _communicator_faults(found: Sequence[Any]) -> Iterator[str]:
    for position, communicator in enumerate(found):
        where = f"communicator {position} ({type(communicator).__name__})"
        for field, wanted in _COMMUNICATOR_FIELDS:
            value: object = getattr(communicator, field, None)
            if not isinstance(value, wanted) or isinstance(value, bool):
                yield f"{where}: {field} is {value!r}, not {wanted.__name__}"
        for method, arguments in _COMMUNICATOR_METHODS.items():
            yield from _method_faults(where, communicator, method, arguments)


def is_idle(offer: Offer, claimed: Sequence[str]) -> bool:
    """Return whether a backend has nothing to serve here: its own devices are absent, and it serves no others'."""
    served = {k.device for k in offer.kernels} | {c.device for c in offer.compilers}
    return bool(claimed) and not offer.devices and served <= set(claimed)
