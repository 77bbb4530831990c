"""Import a plugin and ask its hooks what it offers; the same steps in the probe and in the host.

While this runs, calls of opmux see only the backends loaded so far, in the probe none: a plugin computes
nothing when it is imported.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import pluggy

from ..hooks import PROJECT, Hooks
from .quarantine import QuarantineReason, Stage, guarded, refusal

#: More than this from one hook is an endless generator, not a list.
_MOST: Final = 1 << 16
#: Asked only when what they bring is first wanted: a communicator joins its job.
LATE: Final = frozenset({"opmux_communicators"})
HOOKS: Final = tuple(sorted(name for name in vars(Hooks) if name.startswith(f"{PROJECT}_")))


@dataclass(frozen=True, slots=True)
class Offer:
    """What the hooks of one plugin returned. Until it is validated, any of it may be of a wrong type.

    Attributes:
        devices: drivers, one per device present.
        kernels: kernels.
        compilers: region compilers.
        profiles: names of profiles.
        communicators: asks for the communicators.
    """

    devices: tuple[Any, ...] = ()
    kernels: tuple[Any, ...] = ()
    compilers: tuple[Any, ...] = ()
    profiles: tuple[Any, ...] = ()
    communicators: Callable[[], tuple[Any, ...]] = tuple


def import_plugin(module: str, attribute: str) -> object:
    """Import the object that an entry point names.

    Raises:
        QuarantineError: whatever goes wrong in it.
    """
    target = f"{module}:{attribute}" if attribute else module
    with guarded(Stage.IMPORT, f"importing {target}"):
        found: object = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
    return found


def ask(plugin: object, name: str) -> Offer:
    """Register a plugin with a pluggy manager of its own, so that no other plugin can meet it, and call its hooks.

    Raises:
        QuarantineError: for a hook that is misspelt, unmarked, of a wrong signature, or that fails.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    with guarded(Stage.HOOKS, f"reading the hooks of {name}"):
        faults = tuple(_hook_faults(manager, plugin))
    if faults:
        message = f"{name}: {'; '.join(faults)}"
        raise refusal(Stage.HOOKS, QuarantineReason.HOOK_SIGNATURE, message, faults=faults)
    with guarded(Stage.HOOKS, f"registering the hooks of {name}"):
        manager.register(plugin, name)
        manager.check_pending()
    answers = {hook: _call(manager, hook) for hook in HOOKS if hook not in LATE}
    return Offer(
        devices=answers["opmux_devices"],
        kernels=answers["opmux_kernels"],
        compilers=answers["opmux_region_compilers"],
        profiles=answers["opmux_profiles"],
        communicators=lambda: _call(manager, "opmux_communicators"),
    )


def _hook_faults(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    """Yield what is wrong with a plugin's hooks, in the vendor's terms; pluggy's own check stops at the first."""
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None and attribute not in HOOKS:
            continue
        hook = (options and options.get("specname")) or attribute
        method = getattr(plugin, attribute)
        written = f"{attribute}{_signature(method)}"
        if hook not in HOOKS:
            near = difflib.get_close_matches(hook, HOOKS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            yield f"{written} is marked as a hook, but there is no such one; {hint}the hooks are {', '.join(HOOKS)}"
        elif options is None:
            yield f"{written} is not marked with @hookimpl of opmux.plugin, so nothing would call it"
        elif not callable(method) or _required(method):
            yield f"{written} is called without arguments; write it as {attribute}()"


def _required(method: Callable[..., object]) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(method).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]


def _signature(method: object) -> str:
    try:
        return str(inspect.signature(method))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"


def _call(manager: pluggy.PluginManager, hook: str) -> tuple[Any, ...]:
    with guarded(Stage.HOOKS, f"{hook}()"):
        answers = getattr(manager.hook, hook)()
        items: list[Any] = []
        for answer in answers:
            if not isinstance(answer, Iterable):
                message = f"{hook}() returned {answer!r}, which is not a list"
                raise refusal(Stage.HOOKS, QuarantineReason.INVALID, message)
            items += islice(answer, _MOST + 1)
        if len(items) > _MOST:
            message = f"{hook}() returned more than {_MOST:,} items; it looks endless"
            raise refusal(Stage.HOOKS, QuarantineReason.INVALID, message)
    return tuple(items)
