"""The packages that install scripts name."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_update.updaters.dependencies.install_script import new_packages, packages

KLIPPER = b"""\
#!/bin/bash
# This script installs Klipper on Debian
# PKGLIST="not this"

PYTHONDIR="${HOME}/klippy-env"

install_packages()
{
    # Packages for python cffi
    PKGLIST="virtualenv python-dev libffi-dev build-essential"
    # kconfig requirements
    PKGLIST="${PKGLIST} libncurses-dev"
    # hub-ctrl
    PKGLIST="${PKGLIST} libusb-dev"
    # AVR chip installation and building
    PKGLIST="${PKGLIST} avrdude gcc-avr binutils-avr avr-libc" # tools

    report_status "Running apt-get update..."
    sudo apt-get install --yes ${PKGLIST}
}
"""


def test_a_script_as_klipper_has_it() -> None:
    assert packages(KLIPPER) == (
        *("virtualenv", "python-dev", "libffi-dev", "build-essential", "libncurses-dev", "libusb-dev"),
        *("avrdude", "gcc-avr", "binutils-avr", "avr-libc"),
    )


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("PKGLIST='a1 b1'", ["a1", "b1"]),
        ("PKGLIST=ab", ["ab"]),
        ("PKGLIST=", []),
        ("PKGLIST+=' c1'", ["c1"]),
        ('PKGLIST="$PKGLIST d1"', ["d1"]),
        ('PKGLIST="a1 a1"\nPKGLIST="${PKGLIST} a1 b1"', ["a1", "b1"]),
        ('PKGLIST="a1 \\\n  b1 \\\n  c1"', ["a1", "b1", "c1"]),
        ('PKGLIST="\n  a1\n  b1\n"\nX="c1"', ["a1", "b1"]),
        ("PKGLIST=(a1 'b1' \"c1\"\n  d1 # e1\n  # f1\n  g1)\nh1", ["a1", "b1", "c1", "d1", "g1"]),
        ("declare -a PKGLIST=(a1)", ["a1"]),
        ("export PKGLIST='a1'; PKGLIST+=(b1)&&x c1", ["a1", "b1"]),
        ('if [ -z "$X" ]; then PKGLIST="a1"; else PKGLIST="b1"; fi', ["a1", "b1"]),
        ('PKGLIST="python${V}-dev a1 $(uname -r \'x\') b1 `cat c` d1"', ["a1", "b1", "d1"]),
        ('PKGLIST="${PKGLIST:-a1 b1} c1"', ["c1"]),
        ('PKGLIST="$(f "x (y)" z) a1"', []),
        ('PKGLIST="--no-install-recommends -y a1=1.2-3 b1/stable c1:armhf libstdc++6 g++"',
         ["a1", "b1", "c1:armhf", "libstdc++6", "g++"]),
        ('PKGLIST="a1 Weird ??? b_1 ../x"', ["a1"]),
        ('# PKGLIST="a1"\n  # PKGLIST="b1"\nx=1 # PKGLIST="c1"', []),
        ('MY_PKGLIST="a1"\nPKGLISTS="b1"\nx${PKGLIST="c1"}\nPKGLIST = "d1"', []),
        ("PKGLIST=\"a1 b1\nX=1\n", ["a1", "b1"]),
        ("cat <<END\nthat's odd\nEND\nPKGLIST=\"a1\"\n", ["a1"]),
        ('PKGLIST="a1 b1"\r\nPKGLIST="${PKGLIST} c1"\r\n', ["a1", "b1", "c1"]),
        ('PKGLIST="a1\\\nb1"', ["a1b1"]),
        ('PKGLIST="a1"" b1"\' c1\'', ["a1", "b1", "c1"]),
        ("PKGLIST=(", []),
        ("PKGLIST='", []),
        ("PKGLIST=$", []),
        ("PKGLIST=\\", []),
    ],
)  # fmt: skip
def test_forms(script: str, expected: list[str]) -> None:
    assert list(packages(script.encode())) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b'PKGLIST="a1 b1"', b'# anew\nPKGLIST="b1"\nPKGLIST="${PKGLIST} a1"', ()),
        (b'PKGLIST="a1"', b'PKGLIST="a1 c1 b1"', ("c1", "b1")),
        (b'PKGLIST="a1"', b"", ()),
        (b'PKGLIST="a1"', None, ()),
        (None, b'PKGLIST="a1"', ("a1",)),
        (None, None, ()),
        (b'PKGLIST="a1=1"', b'PKGLIST="a1=2"', ()),
    ],
)
def test_only_newly_named_packages_count(old: bytes | None, new: bytes | None, expected: tuple[str, ...]) -> None:
    assert new_packages(old, new) == expected


_NAME = st.from_regex(r"[a-z0-9][a-z0-9+.-]{0,8}[a-z0-9+]", fullmatch=True)
_FORM = st.sampled_from(
    [
        'PKGLIST="{}"', 'PKGLIST="${{PKGLIST}} {}"', "PKGLIST='{}'", "PKGLIST+=\" {}\"", "PKGLIST=({})",
        "  export PKGLIST=\"{}\" # x", "PKGLIST=\"\n{}\n\"", "echo it's; PKGLIST=\"{}\"; apt-get install y1",
    ]
)  # fmt: skip


@given(st.lists(st.tuples(_FORM, st.lists(_NAME), st.sampled_from([" ", "\n  ", " \\\n ", "\t"]))))
def test_whatever_is_assigned_in_whatever_form_is_found(assigned: list[tuple[str, list[str], str]]) -> None:
    script = "\n".join(form.format(between.join(names)) for form, names, between in assigned)
    expected = dict.fromkeys(name for _, names, _ in assigned for name in names)
    assert packages(script.encode()) == tuple(expected)
    assert new_packages(script.encode(), script.encode()) == ()
    assert new_packages(None, script.encode()) == tuple(expected)


@given(
    st.lists(st.sampled_from(["PKGLIST", "=", "+=", '"', "'", "(", ")", "${", "}", "`", "\\", "\n", "#", "a1", " "]))
)
@example(["PKGLIST", "=", "(", "'", "${", "\\"])
def test_any_text_is_read_to_its_end(parts: list[str]) -> None:
    packages("".join(parts).encode())


@given(st.binary())
def test_any_bytes_are_read(data: bytes) -> None:
    packages(b"PKGLIST=" + data)


def test_much_is_read_fast() -> None:
    packages(b'PKGLIST="' + b"${" * 20_000)
    packages(b"PKGLIST=" * 20_000)
    packages(b'PKGLIST="$(' * 2_000)
