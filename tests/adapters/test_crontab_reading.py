"""A crontab is read as cron reads it. What Debian's cron (3.0pl1-162) made of a line was recorded
from it, running: the environment, the input and the arguments that its jobs saw."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tenure.adapters.crontab.commands import command_of, name_of, split_percent
from tenure.adapters.crontab.lines import Crontab, Line, read_crontab
from tenure.adapters.crontab.source import read_source
from tenure.adapters.crontab.times import Dialect, expression_of
from tenure.domain.errors import InvalidInput
from tenure.domain.schedule.cron import read_cron

DEBIAN, CRONIE = Dialect.DEBIAN, Dialect.CRONIE


def only(text: str, dialect: Dialect = DEBIAN, *, system: bool = False) -> Line:
    read = read_crontab(text, system=system, dialect=dialect)
    assert read.wrong == ()
    (line,) = read.lines
    return line


def wrong(text: str, dialect: Dialect = DEBIAN, *, system: bool = False) -> str:
    read = read_crontab(text, system=system, dialect=dialect)
    assert read.lines == ()
    (found,) = read.wrong
    return found.why


# -- variables ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("line", "name", "debian", "cronie"),
    [
        ("A = plain words here  ", "A", "plain words here", None),
        ('B="quoted  and spaced  "', "B", "quoted  and spaced", "quoted  and spaced  "),
        ("""C='"nested"'""", "C", "nested", '"nested"'),
        ("D=$HOME/bin", "D", "$HOME/bin", None),
        ('"E F"=with space', "E F", "with space", None),
        ('G=a"b"', "G", 'a"b"', None),
        ('EMPTY=""', "EMPTY", "", None),
        ("  SPACED  =x", "SPACED", "x", None),
        ("CR=x\r", "CR", "x", None),
        ("EQUALS=a=b # no comment", "EQUALS", "a=b # no comment", None),
    ],
)
def test_variables(line: str, name: str, debian: str, cronie: str | None) -> None:
    for dialect, value in ((DEBIAN, debian), (CRONIE, debian if cronie is None else cronie)):
        assert only(f"{line}\n* * * * * x\n", dialect).env == {name: value}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("FOO=", "empty value"),
        ("FOO = ", "empty value"),
        ('FOO="a" b', "closing quote"),
        ("FOO='a", "closing quote"),
        ("=x", "without a name"),
        ("FOO bar", "five fields"),
    ],
)
def test_what_cron_takes_for_no_variable_is_named(line: str, why: str) -> None:
    assert why in wrong(line + "\n")


def test_a_variable_holds_for_the_lines_below_it() -> None:
    read = read_crontab("0 1 * * * a\nX=1\n0 2 * * * b\nX=2\nY=3\n0 3 * * * c\n")
    assert [dict(line.env) for line in read.lines] == [{}, {"X": "1"}, {"X": "2", "Y": "3"}]


# -- percent signs -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "command", "stdin"),
    [
        (r"cat%one\%two%three\x%%four\\%", "cat", "one%two\nthree\\x\n\nfour\\%\n"),
        (r"printf '\%s|' 'a\\b' 'c\\\\d' 'e\nf'", r"printf '%s|' 'a\b' 'c\\d' 'e\nf'", None),
        ("cat%", "cat", None),
        ("cat", "cat", None),
        ("cat%%", "cat", "\n"),
        (r"a\\%b", "a\\", "b\n"),
        ("a\\", "a\\", None),
    ],
)
def test_percent_signs_as_debians_cron_recorded(
    written: str, command: str, stdin: str | None
) -> None:
    assert split_percent(written, DEBIAN) == (command, stdin)


def test_cronie_keeps_two_backslashes() -> None:
    assert split_percent(r"a\\b\%%c", CRONIE) == (r"a\\b%", "c\n")


# -- commands ----------------------------------------------------------------------------------
def test_the_command_and_its_environment_are_crons() -> None:
    plain = command_of(only("* * * * * echo hi\n"), DEBIAN)
    assert (plain.argv, plain.shell, plain.cwd) == (("echo hi",), True, None)
    assert plain.env == {"SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    text = "SHELL=/bin/bash\nHOME=/tmp\nLOGNAME=x\nPATH=/opt\nTZ=Asia/Tokyo\n* * * * * a | b\n"
    other = command_of(only(text), DEBIAN)
    assert (other.argv, other.shell, other.cwd) == (("/bin/bash", "-c", "a | b"), False, "/tmp")
    assert other.env == {
        "SHELL": "/bin/bash", "HOME": "/tmp", "PATH": "/opt", "TZ": "Asia/Tokyo"
    }  # fmt: skip


@pytest.mark.parametrize("variable", ["SHELL=bash", "HOME=here"])
def test_what_cron_could_not_start_is_refused(variable: str) -> None:
    with pytest.raises(InvalidInput):
        command_of(only(f"{variable}\n* * * * * x\n"), DEBIAN)


# -- lines -------------------------------------------------------------------------------------
def test_comments_blanks_and_numbers() -> None:
    read = read_crontab("\ufeff# a\n\n \t# b\n\t0 1 * * *\t a  b # c \n@daily x\n")
    assert [(line.number, line.when, line.command) for line in read.lines] == [
        (4, "0 1 * * *", "a  b # c "),
        (5, "@daily", "x"),
    ]


def test_windows_line_ends_and_a_last_line_without_end() -> None:
    read = read_crontab("A=1\r\n\r\n0 1 * * * x\r\n0 2 * * * y")
    assert [(line.command, line.windows, line.unended) for line in read.lines] == [
        ("x", True, False),
        ("y", False, True),
    ]


def test_a_system_crontab_has_a_user() -> None:
    line = only("17 * * * * root    cd / && run-parts /etc/cron.hourly\n", system=True)
    assert (line.user, line.command) == ("root", "cd / && run-parts /etc/cron.hourly")
    assert only("@hourly alice x\n", system=True).user == "alice"
    assert "no command" in wrong("0 1 * * * cmd\n", system=True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("61 * * * * x", "minute '61'"),
        ("* 24 * * * x", "hour '24'"),
        ("* * 0 * * x", "day-of-month '0'"),
        ("* * * january * x", "month 'january'"),
        ("* * * * 8 x", "day-of-week '8'"),
        ("5/15 * * * * x", "needs a range"),
        ("*/0 * * * * x", "not a valid step"),
        ("5;3 * * * * x", "minute '5;3'"),
        ("*5 * * * * x", "minute '*5'"),
        ("22-2 * * * * x", "runs backwards"),
        ("0 0 * * fri-sun x", "runs backwards"),
        ("* * * * *", "no command"),
        ("@Daily x", "@Daily"),
        ("@every_minute x", "@every_minute"),
        ("* * * x", "five fields"),
        ("0 0 1 * * * x", "sixth field"),
        ("0~30 * * * * x", "random"),
        ("- * * * * * x", "minute '-'"),
        ("* * * * * a\0b", "NUL"),
        ("* * * * * \udcff", "UTF-8"),
    ],
)
def test_a_wrong_line_is_named(line: str, why: str) -> None:
    assert why in wrong(line + "\n")


def test_what_only_cronie_knows() -> None:
    assert only("-*/5 * * * * x\n", CRONIE).when == "*/5 * * * *"
    assert only("- 0 1 * * * x\n", CRONIE).when == "0 1 * * *"


# -- fields ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "expression"),
    [
        ("0 3 * * *", "0 3 * * *"),
        ("@hourly", "0 * * * *"),
        ("@weekly", "0 0 * * 0"),
        ("*/15 0-6,22,23 1,15 jan-mar mon-fri", "*/15 0-6,22,23 1,15 jan-mar mon-fri"),
        ("00 07 * * 7", "00 07 * * 7"),
        ("0 0 */2 * 1", "0 0 */2 * 1"),
        ("0 0 1-31 * 1", "0 0 1-31 * 1"),
        ("*,5 * * * *", "*,5 * * * *"),
    ],
)
def test_expressions_keep_their_words(written: str, expression: str) -> None:
    assert expression_of(only(f"{written} x\n").fields, DEBIAN) == expression


def test_a_long_list_is_shortened_to_what_fits() -> None:
    minutes = ",".join(f"{n:03}" for n in range(60))
    assert expression_of((minutes, "1", "*", "*", "*"), DEBIAN) == "0-59 1 * * *"


def test_a_day_that_never_comes_is_said() -> None:
    with pytest.raises(InvalidInput, match="never"):
        expression_of(("0", "0", "30", "2", "*"), DEBIAN)


# -- names -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/local/bin/backup.sh --full", "backup.sh"),
        ("cd / && run-parts --report /etc/cron.hourly", "run-parts"),
        ("test -x /usr/sbin/anacron || { cd / && run-parts /etc/cron.daily; }", "run-parts"),
        ("[ -x /a ] && if [ ! -d /b ]; then /usr/lib/php/sessionclean; fi", "sessionclean"),
        ("flock -n /tmp/x.lock /opt/b.sh", "b.sh"),
        ("nice -n 10 /usr/bin/rsync -a a b", "rsync"),
        ("FOO=1 ./x.sh", "x.sh"),
        ("cd /srv/app && /srv/venv/bin/python3.11 -m app.tick", "app.tick"),
        ("/usr/bin/env python3 z.py", "z.py"),
        ("date", "date"),
        ("env > /tmp/x", "env"),
        ("2>/dev/null cat < in > out", "cat"),
        ("", "job"),
        ("%%%", "job"),
    ],
)
def test_names_say_what_is_run(command: str, name: str) -> None:
    assert name_of(command) == name


# -- any text ----------------------------------------------------------------------------------
WORDS = st.sampled_from(
    ["*", "*/5", "0", "59", "60", "1-5", "5-1", "1-5/2", "mon", "JAN", "7", "8", "@daily", "@x",
     "@reboot", "A=", "='x'", "%", "root", "cmd", "#", "-", "~", '"a', "\\%", "\\"]
)  # fmt: skip
ROWS = st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=40)


@settings(max_examples=400, deadline=None)
@given(st.lists(ROWS, max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans(),
       st.sampled_from(Dialect))  # fmt: skip
@example(["A"], "\n", True, DEBIAN)
@example(["* * * * * " + "x" * 200_000], "\n", False, DEBIAN)
def test_any_text_is_read_or_its_wrong_lines_are_named(
    rows: list[str], end: str, system: bool, dialect: Dialect
) -> None:
    text = end.join(rows)
    read = read_crontab(text, system=system, dialect=dialect)
    accounted(text, read)
    for line in read.lines:
        name = name_of(line.command)
        assert 0 < len(name) <= 60
        assert name.isprintable()
        with contextlib.suppress(InvalidInput):
            if line.fields:
                expression = expression_of(line.fields, dialect)
                assert len(expression) <= 200
                read_cron(expression)
            command_of(line, dialect)


def accounted(text: str, read: Crontab) -> None:
    """Every line is a job, wrong, a variable, a comment or empty; none is more than one."""
    numbers = [line.number for line in read.lines] + [found.number for found in read.wrong]
    assert len(numbers) == len(set(numbers))
    for number, row in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        plain = row.rstrip("\r").strip(" \t")
        if number not in numbers and plain and not plain.startswith("#"):
            assert "=" in row, row
    for found in read.wrong:
        assert found.why


def test_a_blank_that_is_none_is_named() -> None:
    (wrong,) = read_crontab("0\u00a09 * * * true\n").wrong
    assert "no-break space (U+00A0)" in wrong.remedy


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_of_any_editor_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "crontab"
    file.write_bytes(f"0 9 * * * a{end}0 8 * * * b{end}".encode(encoding))
    read = read_crontab(read_source(str(file), system=False, user=None).text)
    assert [(line.number, line.command) for line in read.lines] == [(1, "a"), (2, "b")]
