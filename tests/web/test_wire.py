"""What values look like on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.web.fake import EVIL, EVIL_ESCAPED, an_app
from trio_update.events import JobMessage, StatusChanged
from trio_update.model import (
    FROM_OUTSIDE,
    AppName,
    AppOutcome,
    AppStatus,
    Channel,
    JobId,
    JobKind,
    JobRecord,
    JobState,
    JobView,
    Outcome,
    Outside,
    Plan,
    Status,
    Unknown,
)
from trio_update.updaters.kinds import built_in_kinds
from trio_update.web.api.wire import Wire, escape, from_outside, to_wire

KLIPPER = AppName("klipper")


def a_status(**changes: object) -> Status:
    return Status(busy=False, version_info={KLIPPER: an_app("klipper", **changes)})


def test_an_unknown_value_is_a_question_mark() -> None:
    app = msgspec.json.decode(Wire().text(a_status(version=Unknown("no tags"))))["version_info"]["klipper"]
    assert (app["version"], app["owner"], app["rollback_version"], app["repo_name"]) == ("?", "?", "?", "x")


def test_unknown_numbers_are_question_marks_too() -> None:
    why = Unknown("offline")
    plan = Plan(
        name=KLIPPER,
        up_to_date=False,
        from_version="1",
        to_version=why,
        from_hash="a",
        to_hash=why,
        download_bytes=why,
        disk_free=3,
        disk_needed=why,
    )
    written = msgspec.json.decode(Wire().text([plan]))[0]
    assert (written["to_version"], written["download_bytes"], written["disk_free"]) == ("?", "?", 3)


def test_a_status_names_the_type_of_each_app_and_every_field() -> None:
    app = msgspec.json.decode(Wire().text(a_status()))["version_info"]["klipper"]
    assert app["configured_type"] == "git_repo"
    assert set(app) == {"configured_type", *an_app("klipper").__struct_fields__}
    assert app["info_tags"] == ["desc=X & Y"]
    assert app["commits_behind"][0]["tag"] is None


def test_text_from_outside_is_escaped_where_it_is_wanted_and_nothing_else_is() -> None:
    wire = Wire()
    plain = msgspec.json.decode(wire.text(a_status()))["version_info"]["klipper"]
    safe = msgspec.json.decode(wire.text(a_status(), escaped=True))["version_info"]["klipper"]
    for field in ("warnings", "anomalies", "git_messages"):
        assert (plain[field], safe[field]) == ([EVIL], [EVIL_ESCAPED])
    commit = safe["commits_behind"][0]
    assert commit["author"] == "Eve &lt;eve@x.org&gt;"
    assert (commit["subject"], commit["message"]) == (EVIL_ESCAPED, EVIL_ESCAPED)
    for field in ("remote_url", "recovery_url", "info_tags", "name", "current_hash"):
        assert safe[field] == plain[field]


def test_names_that_a_stranger_made_up_are_escaped() -> None:
    safe = msgspec.json.decode(Wire().text(a_status(branch="<b>", version="v1<b>"), escaped=True))
    app = safe["version_info"]["klipper"]
    assert (app["branch"], app["version"]) == ("&lt;b&gt;", "v1&lt;b&gt;")


def test_jobs_and_their_logs_are_escaped() -> None:
    outcome = AppOutcome(name=KLIPPER, outcome=Outcome.FAILED, message=EVIL)
    record = JobRecord(
        proc_id=JobId(1),
        kind=JobKind.UPGRADE,
        name=KLIPPER,
        requested_by="me",
        started=0.5,
        duration=1,
        outcome=Outcome.FAILED,
        apps=(outcome,),
        message=EVIL,
        log=(EVIL,),
    )
    view = JobView(
        proc_id=JobId(1),
        application="klipper",
        kind=JobKind.UPGRADE,
        name=KLIPPER,
        requested_by="me",
        state=JobState.ENDED,
        abortable=False,
        started=0.5,
        log=(EVIL,),
    )
    written = msgspec.json.decode(Wire().text({"record": record, "view": view}, escaped=True))
    assert written["record"]["log"] == written["view"]["log"] == [EVIL_ESCAPED]
    assert written["record"]["message"] == written["record"]["apps"][0]["message"] == EVIL_ESCAPED
    assert (written["record"]["kind"], written["view"]["state"]) == ("upgrade", "ended")


@given(st.text())
def test_escaped_text_opens_no_tag_and_no_entity_of_its_own(text: str) -> None:
    safe = escape(text)
    assert not {"<", ">"} & set(safe)
    assert safe.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


def test_one_status_is_encoded_once_in_each_way() -> None:
    wire, status = Wire(), a_status()
    assert wire.text(status) is wire.text(status)
    assert wire.text(status, escaped=True) is wire.text(status, escaped=True)
    assert wire.status_body(status)[0] is wire.status_body(status)[0]


def test_a_status_that_took_the_place_of_another_in_memory_is_not_mistaken_for_it() -> None:
    wire = Wire()
    for number in range(50):
        # Nothing else holds the status: the next one may well get the same address.
        assert f'"version":"v{number}"' in wire.text(a_status(version=f"v{number}"))


def test_the_entity_tag_follows_the_content() -> None:
    first, same, other = (
        Wire().status_body(a_status()),
        Wire().status_body(a_status()),
        Wire().status_body(a_status(version="v9")),
    )
    assert first == same
    assert first[1] != other[1]
    assert first[1].startswith('"')
    assert first[1].endswith('"')


def test_a_message_is_a_notification_with_one_object_as_its_parameter() -> None:
    event = JobMessage(application="klipper", proc_id=JobId(4), message="<b>", complete=True)
    expected = {"application": "klipper", "proc_id": 4, "message": "<b>", "complete": True}
    wire = Wire()
    assert msgspec.json.decode(wire.frame(event)) == {
        "jsonrpc": "2.0",
        "method": "notify_update_response",
        "params": [expected],
    }
    assert msgspec.json.decode(wire.frame(event, escaped=True))["params"][0]["message"] == "&lt;b&gt;"
    assert wire.frame(event) is wire.frame(event)


def test_a_refresh_carries_the_whole_status() -> None:
    wire, status = Wire(), a_status()
    frame = msgspec.json.decode(wire.frame(StatusChanged(status=status)))
    assert frame["method"] == "notify_update_refreshed"
    assert frame["params"] == [msgspec.json.decode(wire.text(status))]


def test_many_events_do_not_pile_up_and_none_is_mistaken_for_another() -> None:
    wire = Wire()
    for number in range(500):
        event = JobMessage(application="a", proc_id=JobId(number), message=f"line {number}")
        assert f'"line {number}"' in wire.frame(event)


@pytest.mark.parametrize("escaped", [False, True])
def test_file_names_that_are_not_utf_8_can_be_written(escaped: bool) -> None:
    name = b"caf\xe9 <x>".decode(errors="surrogateescape")
    frame = Wire().frame(JobMessage(application="a", proc_id=JobId(1), message=name), escaped=escaped)
    assert msgspec.json.decode(frame)["params"][0]["message"].startswith("caf\\udce9 ")


def test_scalars_and_names_of_an_enumeration_stay_what_they_are() -> None:
    assert to_wire({"a": 1, "b": None, "c": (True, 2.5), "warnings": ["<"]}, escaped=True) == {
        "a": 1,
        "b": None,
        "c": [True, 2.5],
        "warnings": ["&lt;"],
    }


# Text that is ours, or that clients compare and follow: whoever adds a field decides here, or by its type.
OURS = {
    "AppOutcome": {"name", "from_hash", "to_hash", "digest"},
    "Commit": {"sha", "date"},
    "JobMessage": {"application"},
    "JobRecord": {"name"},
    "JobView": {"application", "name"},
    "Plan": {"name", "plan_id", "from_hash", "to_hash", "asset_digest", "services"},
    "Status": {"version_info"},  # the names of the apps, as its keys
    "AppStatus": {"name", "info_tags", "hold"},
    "GitStatus": {"detected_type", "current_hash", "remote_hash", "remote_alias", "remote_url", "recovery_url"},
    "Unknown": {"reason"},  # written as `?`
}
NOT_SENT = {"remote", "assumed"}


def parts_of(annotation: Any) -> Iterator[Any]:
    yield annotation
    yield from getattr(annotation, "__metadata__", ())
    for part in (*get_args(annotation), getattr(annotation, "__supertype__", None)):
        if part is not None:
            yield from parts_of(part)


def structs_on_the_wire() -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()
    todo: list[Any] = [Status, Plan, JobRecord, JobView, JobMessage, *(kind.status for kind in built_in_kinds())]
    while todo:
        struct = todo.pop()
        found.add(struct)
        for field in msgspec.structs.fields(struct):
            parts = parts_of(field.type) if field.name not in NOT_SENT else ()
            todo += [
                part
                for part in parts
                if isinstance(part, type) and issubclass(part, msgspec.Struct)
                if part not in found
            ]
    return found


def test_every_text_on_the_wire_is_marked_as_from_outside_or_known_as_ours() -> None:
    undecided = set()
    for struct in structs_on_the_wire():
        ours = set().union(*(OURS.get(base.__name__, set()) for base in struct.__mro__))
        for field in msgspec.structs.fields(struct):
            parts = list(parts_of(field.type)) if field.name not in NOT_SENT else []
            text = str in parts or any(isinstance(part, str) for part in parts)
            if text and (FROM_OUTSIDE in parts) == (field.name in ours):
                undecided.add(f"{struct.__name__}.{field.name}")
    assert not undecided


def test_the_list_of_our_own_text_holds_nothing_that_is_gone() -> None:
    bases = {base for struct in structs_on_the_wire() for base in struct.__mro__}
    known = {base.__name__: set(base.__struct_fields__) for base in bases if issubclass(base, msgspec.Struct)}
    assert not {f"{name}.{field}" for name, fields in OURS.items() for field in fields - known.get(name, set())}


def test_whom_a_job_was_for_and_whose_project_it_is_are_text_from_outside_too() -> None:
    app = msgspec.json.decode(Wire().text(a_status(owner="<o>", repo_name="<r>"), escaped=True))
    assert app["version_info"]["klipper"]["owner"] == "&lt;o&gt;"
    assert app["version_info"]["klipper"]["repo_name"] == "&lt;r&gt;"
    assert {"requested_by"} <= from_outside(JobRecord) & from_outside(JobView)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    label: Outside
    within: Part | None = None


class ForeignStatus(AppStatus, frozen=True, kw_only=True, tag="foreign"):
    """As another package may bring it."""

    vendor: Outside = ""
    serial: str = ""
    parts: tuple[Part, ...] = ()


def test_the_marks_of_a_kind_that_another_package_brings_are_heeded() -> None:
    app = ForeignStatus(
        name=KLIPPER, channel=Channel.DEV, version="<v>", vendor="<x>", serial="<y>", parts=(Part(label="<z>"),)
    )
    status = Status(busy=False, version_info={KLIPPER: app})
    written = msgspec.json.decode(Wire().text(status, escaped=True))["version_info"]["klipper"]
    assert (written["version"], written["vendor"], written["serial"]) == ("&lt;v&gt;", "&lt;x&gt;", "<y>")
    assert written["parts"][0]["label"] == "&lt;z&gt;"
