"""Every effect that a journal may hold: the type it is decoded with."""

from __future__ import annotations

from trio_update.updaters.git_effects import GitEffect
from trio_update.updaters.release_effects import ReleaseEffect

AnyEffect = GitEffect | ReleaseEffect
