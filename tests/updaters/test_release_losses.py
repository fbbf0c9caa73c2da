"""What an update of a program would break or lose is told before it, in the plan and in the job alike."""

from __future__ import annotations

import pytest

from tests.support.releases import PROGRAM, ReleaseSite, said
from trio_update.errors import OperationFailed, Refused


async def test_a_program_that_is_a_link_is_refused_by_the_plan_and_the_job(executable: ReleaseSite) -> None:
    program = executable.path / PROGRAM
    target = program.rename(executable.path / "tool-1.0")
    program.symlink_to(target.name)
    before = target.read_bytes()
    async with executable.manager() as (manager, _):
        (plan,) = await manager.plan("app")
        assert any("is a symbolic link" in why for why in plan.refusals), plan
        with pytest.raises((Refused, OperationFailed), match="is a symbolic link"):
            await manager.upgrade("app", who="test")
    assert program.is_symlink()
    assert target.read_bytes() == before


async def test_rights_that_no_new_version_gets_are_told_before(executable: ReleaseSite) -> None:
    (executable.path / PROGRAM).chmod(0o4755)
    async with executable.manager() as (manager, listener):
        (plan,) = await manager.plan("app")
        assert any("setuid" in warning for warning in plan.warnings), plan
        await manager.upgrade("app", who="test")
        assert "set the mode again after an update" in said(listener)
    executable.expect("v2.0.0")
