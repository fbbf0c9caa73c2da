"""Every effect that a journal may hold: the type it is decoded with."""

from __future__ import annotations

from trio_update.updaters.git.effects import GitEffect
from trio_update.updaters.release.effects import ReleaseEffect

AnyEffect = GitEffect | ReleaseEffect
