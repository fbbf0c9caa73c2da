"""A kind of app that another package brings and that does what it must not: that stays its own app's trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace

import trio_update as tu
from trio_update.config import AppConfig, HealthCheck, scalar
from trio_update.progress import Report
from trio_update.updaters import base
from trio_update.updaters.kinds import Kind
from trio_update.web.api.wire import Wire

BAD, GOOD = tu.AppName("bad"), tu.AppName("good")


class OddConfig(AppConfig, frozen=True, kw_only=True, tag="odd"):
    fault: str = ""


class OddStatus(tu.AppStatus, frozen=True, kw_only=True, tag="odd"):
    more: Any = None


class Write(msgspec.Struct, frozen=True, kw_only=True, tag="odd.write"):
    path: str
    fault: str
    reversible: bool = True

    async def apply(self, tools: base.Tools, report: Report) -> None:
        Path(self.path).write_text("new")
        fail(self.fault, "apply")

    async def settle(self, tools: base.Tools, report: Report) -> None:
        fail(self.fault, "settle")
        Path(self.path).write_text("old")

    async def discard(self, tools: base.Tools, report: Report) -> None:
        fail(self.fault, "discard")


def fail(fault: str, where: str) -> Any:
    if fault == where:
        raise KeyError(where)
    return fault == f"{where} none"


@dataclass
class Odd:
    config: OddConfig
    tools: base.Tools

    async def tidy(self) -> Any:
        return None if fail(self.config.fault, "tidy") else ()

    def initial(self) -> Any:
        if not fail(self.config.fault, "initial"):
            return OddStatus(name=self.config.name, channel=self.config.channel)
        return None

    async def inspect(self, known: tu.AppStatus) -> Any:
        if fail(self.config.fault, "inspect"):
            return None
        more: dict[str, Any] = {"path": Path("/x"), "object": object()}
        return OddStatus(
            name=tu.AppName("other") if self.config.fault == "name" else known.name,
            channel=known.channel,
            is_valid=True,
            version=(self.config.path / "file").read_text(),
            more=more.get(self.config.fault),
        )

    async def check(self, known: tu.AppStatus) -> Any:
        found = None if fail(self.config.fault, "check") else await self.inspect(known)
        return found and replace(found, refreshed_at=1.0)

    async def decide(self, request: base.Request, known: tu.AppStatus, *, fetch: Report | None = None) -> Any:
        if fail(self.config.fault, "decide"):
            return None
        plan = tu.Plan(name=self.config.name, up_to_date=False, from_version="old", to_version="new")
        return base.Decision(request=request, known=known, plan=plan)

    async def prepare(self, decision: base.Decision, area: base.WorkArea, report: Report) -> Any:
        if fail(self.config.fault, "prepare"):
            return None
        effect = Write(path=str(self.config.path / "file"), fault=self.config.fault)
        return base.Prepared(base.Target("old"), base.Target("new"), effects=(effect,))


def make(config: OddConfig, tools: base.Tools) -> Any:
    return None if fail(config.fault, "make") else Odd(config, tools)


ODD = Kind(
    config=OddConfig,
    status=OddStatus,
    options={"fault": scalar(lambda text: text)},
    effects=lambda: (Write,),
    make=make,
)


@asynccontextmanager
async def manager_of(folder: Path, fault: str, **options: Any) -> AsyncIterator[tu.Manager]:
    for name in (BAD, GOOD):
        (folder / name).mkdir(exist_ok=True)
        if not (folder / name / "file").exists():
            (folder / name / "file").write_text("old")
    bad = OddConfig(name=BAD, path=folder / BAD, fault=fault, **options)
    config = tu.Config(apps=(bad, OddConfig(name=GOOD, path=folder / GOOD)))
    with trio.fail_after(30):
        async with tu.open_manager(config, data_path=folder / "data", kinds=[ODD]) as manager:
            await manager.wait_ready()
            yield manager


def shown(manager: tu.Manager) -> tu.AppStatus:
    """The status of the odd app; what clients are sent can be made of it, and the other app is well."""
    status = manager.status()
    sent = msgspec.json.decode(Wire().text(status))["version_info"]
    assert (sent["bad"]["configured_type"], sent["good"]["is_valid"]) == ("odd", True)
    return status.version_info[BAD]


@pytest.mark.parametrize("fault", ["make", "make none"])
async def test_an_app_that_no_updater_can_be_made_for_is_shown_so(tmp_path: Path, fault: str) -> None:
    for _ in range(2):
        async with manager_of(tmp_path, fault) as manager:
            status = shown(manager)
            assert not status.is_valid
            assert status.last_error.startswith("bad cannot be managed: ")
            assert status.warnings == (status.last_error,)
            bad, good = await manager.plan()
            assert good.refusals == ()
            assert bad.refusals == (status.last_error,)
            assert (await manager.upgrade("good")).outcome is tu.Outcome.SUCCEEDED
            record = await manager.upgrade("bad")
            assert (record.outcome, record.reason) == (tu.Outcome.FAILED, tu.Reason.INVALID)
            assert record.message == status.last_error


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("inspect", "KeyError('inspect')"),
        ("inspect none", "a NoneType instead of a OddStatus"),
        ("check", "KeyError('check')"),
        ("check none", "a NoneType instead of a OddStatus"),
        ("name", "the status of other"),
        ("path", "type PosixPath is unsupported"),
        ("object", "type object is unsupported"),
    ],
)
async def test_an_app_that_cannot_be_looked_at_is_shown_so(tmp_path: Path, fault: str, why: str) -> None:
    async with manager_of(tmp_path, fault) as manager:
        await manager.refresh()
        status = shown(manager)
        assert not status.is_valid
        assert status.last_error.startswith("bad failed unexpectedly: ")
        assert why in status.last_error
    async with manager_of(tmp_path, "") as manager:
        await manager.refresh()
        assert shown(manager).is_valid
        assert shown(manager).last_error == ""


@pytest.mark.parametrize("fault", ["initial", "initial none", "tidy", "tidy none"])
async def test_the_start_goes_on(tmp_path: Path, fault: str) -> None:
    async with manager_of(tmp_path, fault) as manager:
        assert shown(manager).is_valid
        assert (await manager.upgrade("good")).outcome is tu.Outcome.SUCCEEDED


@pytest.mark.parametrize("fault", ["decide", "decide none", "prepare", "prepare none", "apply"])
async def test_its_job_fails_and_nothing_is_left(tmp_path: Path, fault: str) -> None:
    async with manager_of(tmp_path, fault) as manager:
        record = await manager.upgrade("bad")
        assert (record.outcome, record.reason) == (tu.Outcome.FAILED, None)
        assert "bad failed unexpectedly" in record.message
        plans = {plan.name: plan.refusals for plan in await manager.plan()}
        assert plans[GOOD] == ()
        assert shown(manager).is_valid
        if fault.startswith("decide"):
            assert "bad failed unexpectedly" in plans[BAD][0]
            with pytest.raises(tu.OperationFailed, match="bad failed unexpectedly"):
                await manager.plan("bad")
    assert (tmp_path / "bad" / "file").read_text() == "old"
    assert list((tmp_path / "data/trio_update/journal").iterdir()) == []


async def test_a_settle_that_raises_leaves_its_app_stuck_and_told(tmp_path: Path) -> None:
    async with manager_of(tmp_path, "settle", health=HealthCheck(command=("false",))) as manager:
        record = await manager.upgrade("bad")
        assert "bad could not be put back" in record.message
        assert "KeyError('settle')" in record.message
        assert "could not be put back" in shown(manager).last_error
        assert (await manager.upgrade("bad")).reason is tu.Reason.STUCK
    async with manager_of(tmp_path, "settle") as manager:
        assert "could not be undone" in shown(manager).last_error
        assert (await manager.upgrade("good")).outcome is tu.Outcome.SUCCEEDED
    (entry,) = (tmp_path / "data/trio_update/journal").iterdir()
    entry.write_text(entry.read_text().replace('"fault":"settle"', '"fault":""'))
    async with manager_of(tmp_path, "") as manager:
        assert shown(manager).is_valid
    assert (tmp_path / "bad" / "file").read_text() == "old"


async def test_a_discard_that_raises_is_told_and_its_update_stands(tmp_path: Path) -> None:
    for number in (1, 2):
        async with manager_of(tmp_path, "discard") as manager:
            if number == 1:
                record = await manager.upgrade("bad")
                assert record.outcome is tu.Outcome.SUCCEEDED
            assert shown(manager).is_valid
            assert "KeyError('discard')" in shown(manager).anomalies[0]
    assert (tmp_path / "bad" / "file").read_text() == "new"
