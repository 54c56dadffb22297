"""Telling plugins of a loop that turned for the first time."""

from __future__ import annotations

from runvis_core.lineage.facts import Node
from runvis_core.lineage.turns import Turn
from runvis_core.plugins import Plugins, plugin_manager
from runvis_core.services.lineage_answers import LineageRef, NewLoop


def tell_of_loops(turns: list[Turn], nodes: dict[int, Node], *, plugins: Plugins | None = None) -> None:
    """Call the hook `runvis_loop_detected` for each turn that is the first through its definitions."""
    plugins = plugins or plugin_manager()
    if not plugins.has("runvis_loop_detected"):
        return
    for turn in turns:
        list(plugins.ask("runvis_loop_detected", loop=_new_loop(turn, nodes)))


def _new_loop(turn: Turn, nodes: dict[int, Node]) -> NewLoop:
    definitions = [LineageRef(node_id=nodes[number].node_id, **nodes[number]._asdict()) for number in turn.path]
    return NewLoop(definitions=definitions, run_id=turn.run_id, position=turn.position)
