"""Owns the command ``skills``, in the user's words; the list is schemas/skills.yaml."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(skills)


def skills(
    area: Annotated[str, typer.Option(help="Only the skills typical of this application area.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """List skills, application areas, subtasks and scene levels: the ids that labels may have."""
    from kinestream.deploy.cli.output import emit_json, say, table
    from kinestream.schemas.errors import ContractError
    from kinestream.schemas.skills import load_skills

    listed = load_skills()
    if area and listed.area(area) is None:
        raise ContractError(f"area {area!r} is not listed: {', '.join(term.id for term in listed.areas)} are")
    chosen = listed.skills_of(area) if area else listed.skills
    groups = {"areas": listed.areas, "subtasks": listed.subtasks, "scene_levels": listed.scene_levels}
    if as_json:
        emit_json({"version": listed.version, "skills": chosen, **groups})
        return
    table(("skill", "English", "中文", "typical of"), [(t.id, t.en, t.zh, ", ".join(t.areas) or "all") for t in chosen])
    for name, terms in groups.items():
        say(f"\n{name.replace('_', ' ')}: {', '.join(f'{term.id} ({term.en}, {term.zh})' for term in terms)}")
    say(
        f"\n{len(chosen)} skills. No published list of the core skills exists: this one is Kinestream's own"
        " (schemas/skills.yaml). Another id is accepted, with a finding."
    )
