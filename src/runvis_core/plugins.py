"""The plugin manager. Built-ins come in by the same door as everybody else's plugins."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, NamedTuple

import pluggy

from runvis_core import hookspecs
from runvis_core.model.event import EventBase

ENTRY_POINT_GROUP: Final = "runvis"
BUILT_INS: Final = (
    "runvis_core.services.plugin",
    "runvis_core.services.checkpoint_file",
    "runvis_core.services.checkpoint_witness",
)
"""By name, since they stand on higher floors. Light to import: a worker loads them."""

_log = logging.getLogger(__name__)


class LoadedPlugin(NamedTuple):
    """A plugin, and what became of loading it."""

    name: str
    source: str
    """`built in`, or the distribution that brings it with its version."""
    hooks: tuple[str, ...]
    error: str | None = None
    """Why it could not be loaded."""


class Answer(NamedTuple):
    """What one plugin's hook did: it returned a value or raised."""

    plugin: str
    value: Any = None
    error: Exception | None = None


class Plugins:
    """The plugins of this process."""

    def __init__(self, *, built_ins: tuple[str, ...] = BUILT_INS, group: str | None = ENTRY_POINT_GROUP) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self._sources: dict[str, str] = {}
        self._failed: list[LoadedPlugin] = []
        for name in built_ins:
            self.register(importlib.import_module(name), name=name, source="built in")
        if group is not None:
            self._load_entry_points(group)

    def register(self, plugin: object, *, name: str, source: str = "registered by hand") -> None:
        """Add a plugin. Raises pluggy's `PluginValidationError` where a hook does not fit its specification."""
        self.manager.register(plugin, name=name)
        self._sources[name] = source

    def _load_entry_points(self, group: str) -> None:
        for entry_point in entry_points(group=group):
            dist = entry_point.dist
            source = f"{dist.name} {dist.version}" if dist is not None else "unknown"
            try:
                self.register(entry_point.load(), name=entry_point.name, source=source)
            except Exception as error:  # noqa: BLE001 - a foreign module may raise anything, and only it is left out
                said = f"{type(error).__name__}: {error}"
                _log.warning("the plugin %s of %s could not be loaded: %s", entry_point.name, source, said)
                self._failed.append(LoadedPlugin(entry_point.name, source, (), said))

    def loaded(self) -> list[LoadedPlugin]:
        """Return all plugins, in the order in which they were loaded, then those that could not be."""
        found: list[LoadedPlugin] = []
        for name, source in self._sources.items():
            plugin = self.manager.get_plugin(name)
            callers = (self.manager.get_hookcallers(plugin) or []) if plugin is not None else []
            found.append(LoadedPlugin(name, source, tuple(sorted(caller.name for caller in callers))))
        return found + self._failed

    def has(self, hook: str) -> bool:
        """Return whether any plugin has this hook."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def ask(self, hook: str, **arguments: Any) -> Iterator[Answer]:
        """Call a hook plugin by plugin, the last registered first; one that raises is reported and passed over."""
        for implementation in self._implementations(hook):
            yield self._call(hook, implementation, arguments)

    def pass_on(self, hook: str, event: EventBase) -> Iterator[Answer]:
        """Call a hook plugin by plugin, each with the event that the one before it returned, if it returned one."""
        for implementation in self._implementations(hook):
            answer = self._call(hook, implementation, {"event": event})
            event = answer.value or event
            yield answer if answer.error is not None else answer._replace(value=event)

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        return list(reversed(getattr(self.manager.hook, hook).get_hookimpls()))

    def _call(self, hook: str, implementation: pluggy.HookImpl, arguments: dict[str, Any]) -> Answer:
        wanted = {name: arguments[name] for name in implementation.argnames}
        try:
            return Answer(implementation.plugin_name, implementation.function(**wanted))
        except Exception as error:  # noqa: BLE001 - a foreign hook may raise anything, and must hurt nobody else
            _log.exception("the hook %s of the plugin %s raised", hook, implementation.plugin_name)
            return Answer(implementation.plugin_name, error=error)


@cache
def plugin_manager() -> Plugins:
    """Return the plugins of this process, loaded when first asked for."""
    return Plugins()


def list_plugins() -> list[LoadedPlugin]:
    """Return what is loaded, and what could not be."""
    return plugin_manager().loaded()


def find_transport(url: str) -> Any:
    """Return the transport that a plugin has for an address; None where no plugin has one."""
    return plugin_manager().manager.hook.runvis_transport(url=url)


def find_store(url: str) -> Any:
    """Return the open store that a plugin has at an address; None where no plugin has one."""
    return plugin_manager().manager.hook.runvis_store(url=url)
