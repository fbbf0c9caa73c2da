"""A kind of app of one's own: the firmware of a board, brought up to date from a folder of releases.

    [update_manager board]
    type: firmware
    path: ~/board               here is its `firmware.bin`, whose first line tells its version
    releases: /mnt/firmware     here are `1.0.bin`, `1.1.bin` and so on

A package registers it by the entry point `firmware = "own_updater:FIRMWARE"` in the group `trio_update.kinds`.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

import trio_update as tu
from trio_update.config import AppConfig, convert, scalar
from trio_update.progress import Report
from trio_update.updaters import base
from trio_update.updaters.kinds import Kind


class FirmwareConfig(AppConfig, frozen=True, kw_only=True, tag="firmware"):
    releases: Path


class FirmwareStatus(tu.AppStatus, frozen=True, kw_only=True, tag="firmware"):
    """Nothing beyond what every app's status tells."""


class Flash(msgspec.Struct, frozen=True, kw_only=True, tag="own_updater.flash"):
    """The only visible change, and its undo record: the new image's inode tells at any time which image lies where."""

    live: str
    stage: str
    new: int
    reversible: bool = True

    async def apply(self, tools: base.Tools, report: Report) -> None:
        await tools.files.put(self.live, f"{self.stage}/image", new=self.new, replaces=True, forward=True)

    async def settle(self, tools: base.Tools, report: Report) -> None:
        await tools.files.put(self.live, f"{self.stage}/image", new=self.new, replaces=True, forward=False)

    async def discard(self, tools: base.Tools, report: Report) -> None:
        await tools.files.remove(self.stage)


@dataclass
class Firmware:
    config: FirmwareConfig
    tools: base.Tools

    async def tidy(self) -> tuple[str, ...]:
        return ()

    def initial(self) -> tu.AppStatus:
        return FirmwareStatus(name=self.config.name, channel=self.config.channel)

    async def inspect(self, known: tu.AppStatus) -> tu.AppStatus:
        try:
            image = await self.tools.files.read(self.config.path / "firmware.bin")
        except tu.OperationFailed as error:
            return replace(known, is_valid=False, warnings=(str(error),))
        return replace(known, is_valid=True, warnings=(), version=image.partition(b"\n")[0].decode(errors="replace"))

    async def check(self, known: tu.AppStatus) -> tu.AppStatus:
        found = [name[:-4] for name in await self.tools.files.names(self.config.releases) if name.endswith(".bin")]
        newest = max(found, key=lambda version: [int(part) for part in version.split(".")], default=known.version)
        return await self.inspect(replace(known, remote_version=newest, refreshed_at=self.tools.clock()))

    async def decide(self, request: base.Request, known: tu.AppStatus, *, fetch: Report | None = None) -> base.Decision:
        known = await self.check(known) if fetch else known
        wanted = known.version if isinstance(request, base.Recover) else known.remote_version
        if isinstance(request, base.Rollback):
            wanted = request.version or (request.earlier[-1].version if request.earlier else known.version)
        up_to_date = wanted == known.version and not isinstance(request, base.Recover)
        hold = self.config.hold if isinstance(request, base.Upgrade) else ""
        plan = tu.Plan(name=known.name, up_to_date=up_to_date, from_version=known.version, to_version=wanted)
        plan = replace(plan, refusals=(*known.warnings, *([f"it is held back: {hold}"] if hold else ())))
        return base.Decision(request=request, known=known, plan=plan)

    async def prepare(self, decision: base.Decision, area: base.WorkArea, report: Report) -> base.Prepared:
        if decision.plan.refusals:
            raise tu.Refused(tu.Reason.INVALID, "; ".join(decision.plan.refusals))
        old, new = base.Target(str(decision.plan.from_version)), base.Target(str(decision.plan.to_version))
        if decision.plan.up_to_date:
            return base.Prepared(old, old, unchanged=f"{self.config.name} stays at {old.version}")
        files, live = self.tools.files, self.config.path / "firmware.bin"
        image = await files.read(self.config.releases / f"{new.version}.bin")
        stage = await area.stage(live)
        await files.make_folder(stage)
        inode = await files.write(stage / "image", image)
        return base.Prepared(old, new, effects=(Flash(live=str(live), stage=str(stage), new=inode),))


OPTIONS = {"releases": scalar(convert.as_path)}
FIRMWARE = Kind(config=FirmwareConfig, status=FirmwareStatus, options=OPTIONS, effects=lambda: (Flash,), make=Firmware)
