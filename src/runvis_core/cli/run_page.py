"""One run on a terminal: all that is known about it, section by section."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from runvis_core.cli.output import cell, console, state_text, table, to_json
from runvis_core.cli.text import clean, name_duration, name_moment
from runvis_core.services.answers import Report, RunCompleteness, RunDetail, RunRef, RunSummary, TreeNode, TriggerView
from runvis_core.services.labels import name_run

LOG_LINES: Final = 30


def print_tree(node: RunSummary | TreeNode) -> None:
    """Print a run, what ran inside it, and what it started in any engine."""
    assert isinstance(node, TreeNode)
    console().print(_tree(node))


def print_run(run: RunSummary | TreeNode) -> None:
    """Print a run's page; a section that has nothing to say is left out."""
    assert isinstance(run, RunDetail)
    out = console()
    _heading(out, run)
    _facts(out, run)
    _section(out, "Transitions", _transitions(run))
    _section(out, "Attempts", _attempts(run))
    _failure(out, run)
    _section(out, "Context", _context(run))
    _section(out, "Data", _data(run))
    _section(out, "Testimony", _testimony(run))
    _section(out, "Corrections", _corrections(run))
    _section(out, "Presumptions", _presumptions(run))
    _section(out, "Attestations", _attestations(run))
    _section(out, "Conflicting reports", _conflicts(run))
    _section(out, "After the end", _late(run))
    _section(out, "Said", _said(run))
    _log(out, run)
    if run.tree.children or run.tree.caused or run.tree.cut_children:
        _title(out, "Tree")
        out.print(_tree(run.tree))
    if run.cut:
        out.print(Text(f"left out: {', '.join(f'{count} of {name}' for name, count in run.cut.items())}", style="dim"))


def _heading(out: Console, run: RunDetail) -> None:
    title = Text(clean(name_run(run) or "a run that nobody named yet"), style="bold")
    title.append(f"  {clean(run.kind or '')}  try {run.attempt if run.attempt is not None else '?'}  ", style="dim")
    title.append_text(state_text(run, corrected=run.corrected, presumed=run.presumed))
    out.print(title)


def _facts(out: Console, run: RunDetail) -> None:
    version = run.definition_version
    facts: dict[str, Any] = {
        "run": run.run_id,
        "engine": f"{run.engine} ({run.deployment})",
        "native id": run.native_id,
        "queued": run.queued_at and name_moment(run.queued_at),
        "started": run.started_at and name_moment(run.started_at),
        "ended": run.ended_at and name_moment(run.ended_at),
        "duration": run.duration_seconds is not None and name_duration(run.duration_seconds),
        "trigger": run.trigger and _trigger(run.trigger),
        "parent": run.parent_run_id,
        "caused by": run.caused_by_run_id,
        "root": run.root_run_id,
        "retry of": run.retry_of,
        "correlation": run.correlation_id,
        "version": version
        and f"{version.native_version or ''} {version.version[:12]} {version.code_version or ''}".strip(),
        "aliases": ", ".join(f"{alias.system} {alias.native_id}" for alias in run.aliases),
        "retry expected": run.retry_expected_at and name_moment(run.retry_expected_at),
        "last heartbeat": run.liveness
        and f"{name_moment(run.liveness.last_heartbeat_at)}{', silent' if run.liveness.silent else ''}",
        "presumed": run.presumption and f"{run.presumption.verdict.value}: {run.presumption.reason}",
        "judged": run.judgement and f"{run.judgement.rule.value}: {run.judgement.reason}",
        "record": run.completeness and _completeness(run.completeness),
        "clock": run.clock_suspect and "suspect: a report's time lies far from its recording",
        "recorded": f"{run.event_count} entries, by {', '.join(run.witnesses)}",
    }
    _print_facts(out, facts)


def _trigger(trigger: TriggerView) -> str:
    native = f" ({trigger.native})" if trigger.native else ""
    return trigger.kind.value + native + (f" by {to_json(trigger.actor)}" if trigger.actor is not None else "")


def _print_facts(out: Console, facts: dict[str, Any]) -> None:
    rows = table("", "")
    rows.show_header = False
    for name, value in facts.items():
        if value not in (None, False, ""):
            rows.add_row(Text(name, style="dim"), cell(value))
    out.print(rows)


def _title(out: Console, title: str) -> None:
    out.print()
    out.print(Text(title, style="bold"))


def _section(out: Console, title: str, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    _title(out, title)
    made = table(*("" for _ in rows[0]))
    made.show_header = False
    for row in rows:
        made.add_row(*(value if isinstance(value, Text) else cell(value) for value in row))
    out.print(made)


def _reporters(reports: Iterable[Report]) -> str:
    return ", ".join(dict.fromkeys(f"{report.witness.value} #{report.position}" for report in reports))


def _transitions(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (
            name_moment(step.occurred_at),
            step.state.value,
            step.native_state,
            name_duration(step.duration_seconds),
            _reporters(step.reports),
        )
        for step in run.transitions
    ]


def _attempts(run: RunDetail) -> list[tuple[Any, ...]]:
    if len(run.attempts) < 2:
        return []
    return [
        (
            f"try {attempt.attempt}",
            str(attempt.run_id)[:8],
            state_text(attempt),
            name_moment(attempt.started_at),
            name_duration(attempt.duration_seconds),
            "this one" if attempt.run_id == run.run_id else "",
        )
        for attempt in run.attempts
    ]


def _failure(out: Console, run: RunDetail) -> None:
    failure = run.failure
    if failure is None:
        return
    _title(out, "Failure")
    words = [word for word in (failure.error_type, failure.message) if word]
    out.print(Text(clean(": ".join(words), keep_lines=True), style="red"))
    if failure.traceback:
        out.print(Text(clean(failure.traceback, keep_lines=True), style="dim"))


def _context(run: RunDetail) -> list[tuple[Any, ...]]:
    context = run.context
    rows: list[tuple[Any, ...]] = []
    for section, values in (("code", context.code), ("environment", context.environment), ("engine", context.engine)):
        rows += [
            (section, key, value if isinstance(value, str) else to_json(value)) for key, value in sorted(values.items())
        ]
    if run.parameters is not None:
        rows.append(("parameters", "", to_json(run.parameters)))
    if context.conf is not None:
        rows.append(("conf", "", to_json(context.conf)))
    if context.tags:
        rows.append(("tags", "", ", ".join(context.tags)))
    named = (("owner", context.owner), ("url", context.native_url))
    return rows + [(name, "", value) for name, value in named if value]


def _data(run: RunDetail) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [("reads", item.namespace, item.name) for item in run.reads]
    rows += [("writes", item.namespace, item.name) for item in run.writes]
    rows += [("artifact", item.name, item.uri or item.digest or "") for item in run.artifacts]
    return rows + [("metric", item.name, f"{item.value:g} {item.unit or ''}".strip()) for item in run.metrics]


def _testimony(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (
            word.witness.value,
            word.state.value,
            word.native_state,
            f"ended {name_moment(word.occurred_at)}",
            f"recorded {name_moment(word.recorded_at)}",
            f"{word.principal} #{word.position}",
        )
        for word in run.testimony
    ]


def _corrections(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (
            str(end.run_id)[:8],
            f"says {end.state.value}",
            end.native_state,
            f"{end.report.witness.value}, recorded {name_moment(end.report.recorded_at)}",
            f"{end.report.principal} #{end.report.position}",
        )
        for end in run.corrections
    ]


def _presumptions(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (
            name_moment(one.report.occurred_at),
            one.verdict.value,
            one.state.value if one.state is not None else None,
            one.reason,
            to_json(one.evidence) if one.evidence else "",
            f"{one.report.witness.value}, {one.report.principal} #{one.report.position}",
        )
        for one in run.presumptions
    ]


def _attestations(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (
            f"{one.attested_by.value} ({one.report.principal})",
            f"attests #{one.attested_position or '?'}",
            f"recorded {name_moment(one.report.recorded_at)}",
            f"#{one.report.position}",
        )
        for one in run.attestations
    ]


def _conflicts(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (
            f"{one.report.witness.value} ({one.report.principal})",
            f"says otherwise than #{one.conflicting_position or '?'}",
            to_json(one.said),
            f"#{one.report.position}",
        )
        for one in run.conflicts
    ]


def _completeness(found: RunCompleteness) -> str:
    return f"{found.outcome.value}{': ' if found.reasons else ''}{'; '.join(found.reasons)}"


def _late(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (fact.field, fact.value if isinstance(fact.value, str) else to_json(fact.value), f"#{fact.position}")
        for fact in run.late
    ]


def _said(run: RunDetail) -> list[tuple[Any, ...]]:
    return [
        (name_moment(item.report.occurred_at), item.kind, item.name, to_json(item.content), f"#{item.report.position}")
        for item in run.said
    ]


def _log(out: Console, run: RunDetail) -> None:
    log = run.log
    if log is None:
        return
    _title(out, "Log")
    counts = ", ".join(f"{count} {clean(name)}" for name, count in log.counts.items())
    if counts or log.url:
        out.print(Text(f"{counts} {clean(log.url or '')}".strip(), style="dim"))
    if log.tail:
        lines = log.tail.splitlines()[-LOG_LINES:]
        out.print(Text(clean("\n".join(lines), keep_lines=True)))


def _tree(node: TreeNode) -> Tree:
    made = Tree(_label(node))
    _grow(made, node)
    return made


def _grow(branch: Tree, node: TreeNode) -> None:
    for child in node.children:
        _grow(branch.add(_label(child, carried_over=child.carried_over)), child)
    if node.cut_children:
        failed = f", {node.cut_failed} failed" if node.cut_failed else ""
        branch.add(Text(f"… {node.cut_children} more{failed}", style="dim"))
    for started in node.caused:
        _grow(branch.add(Text("⇒ started ", style="magenta").append_text(_label(started))), started)
    if node.cut_caused:
        branch.add(Text(f"⇒ … {node.cut_caused} more", style="dim"))


def _label(run: RunRef, *, carried_over: bool = False) -> Text:
    text = Text(clean(name_run(run) or run.native_id or "unnamed"), style="bold")
    if run.attempt is not None and run.attempt != 1:
        text.append(f" try {run.attempt}", style="dim")
    text.append("  ").append_text(state_text(run, corrected=run.corrected))
    if run.duration_seconds is not None:
        text.append(f"  {name_duration(run.duration_seconds)}", style="dim")
    text.append(f"  {run.engine} {str(run.run_id)[:8]}", style="dim")
    if carried_over:
        text.append("  carried over", style="dim")
    return text
