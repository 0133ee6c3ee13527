"""The command line as a whole: what it loads, what its helps say, how it looks on a terminal."""

import json
import subprocess
import sys

import pytest
import typer.main

from assay import cli
from assay.cli.app import app
from fakes.cli_environment import environment

HEAVY = (
    *("fastapi", "starlette", "uvicorn", "redis", "sqlalchemy"),
    *("aiohttp", "httpx2", "numpy", "scipy", "pyarrow", "jsonschema_rs", "nltk", "structlog"),
    *("prometheus_client", "alembic", "tomllib", "assay.client", "assay.bootstrap", "assay.api"),
)
"""Modules that no command needs to say its version, or what commands there are."""


def commands():
    for name in cli.COMMANDS:
        cli.load(name)
    found = {}

    def add(words, command):
        members = getattr(command, "commands", None)
        if members is None:
            found[words] = command
        for name, member in (members or {}).items():
            add(f"{words} {name}", member)

    for name, command in typer.main.get_group(app).commands.items():
        add(name, command)
    return found


@pytest.fixture(scope="module")
def loaded():
    return commands()


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (("--version",), ("pydantic",)),
        (("--help",), ("pydantic",)),
        (("probe", "--help"), ()),  # typer itself reads options with pydantic, if it is there
    ],
)
def test_nothing_heavy_is_loaded_to_answer_at_once(arguments, more):
    """Neither the version nor a help loads the service or the client."""
    program = (
        "import sys, atexit\n"
        f"heavy = {[*HEAVY, *more]!r}\n"
        "loaded = lambda: [name for name in heavy if name in sys.modules]\n"
        "atexit.register(lambda: print(loaded(), file=sys.stderr))\n"
        f"sys.argv = ['assay', *{arguments!r}]\n"
        "from assay.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        env=environment(),
        encoding="utf-8",
        timeout=30,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.strip().endswith("[]")


def test_help_lists_every_command_in_its_group(assay):
    """Three groups, and nothing is missing."""
    shown = assay("--help").stdout
    assert all(name in shown for name in cli.COMMANDS)
    assert all(panel in shown for panel in (cli.SCORE, cli.KEEP, cli.SERVICE))


def test_every_help_begins_with_the_summary_of_the_list(loaded):
    """What the list says of a command is the first sentence of its own help."""
    group = typer.main.get_group(app).commands
    for name, (_, summary) in cli.COMMANDS.items():
        help_text = " ".join((group[name].help or "").split())
        assert help_text.startswith(summary.rstrip(".")), name


def test_every_command_has_examples_and_explains_each_option(loaded):
    """The examples call the command itself."""
    for words, command in loaded.items():
        assert f"$ assay {words.partition(' ')[0]}" in (command.epilog or "") or (
            f"| assay {words}" in command.epilog
        ), words
        unexplained = [one.name for one in command.params if not getattr(one, "help", "")]
        assert not unexplained, words


def test_every_listing_prints_json_lines(loaded):
    """`--json` is there wherever several things are listed."""
    listings = [words for words in loaded if words.endswith((" list", " draws"))]
    assert len(listings) == 6
    for words in (*listings, "models", "doctor"):
        assert any("--json" in one.opts for one in loaded[words].params), words


@pytest.mark.parametrize("url", ["host:80", "http://h:port", "http://h?a=b"])
def test_a_url_that_cannot_be_called_is_a_wrong_argument(assay, url):
    """A sentence, and no traceback; it does not repeat what may hold a password."""
    for command in (("evaluators", "list"), ("doctor",), ("probe",)):
        ran = assay(*command, "--url", url)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith(("assay: --url must", "assay: the URL of the service"))
        assert ran.stderr.count("\n") == 1


def test_a_misspelt_command_is_answered_with_the_nearest(assay):
    """Exit code 2, and the name that was meant."""
    ran = assay("evalute", "x")
    assert ran.returncode == 2
    assert "'evaluate'" in ran.stderr
    assert "'create'" in assay("keys", "crate").stderr


def test_completion_offers_commands_and_their_options(assay):
    """The shell asks by a variable; the options of one command are known, too."""
    words = {"_ASSAY_COMPLETE": "complete_bash", "_TYPER_COMPLETE_ARGS": "", "COMP_CWORD": "1"}
    program = "import sys; sys.argv[0] = 'assay'; from assay.cli import main; main()"

    def offered(line, word):
        given = {**words, "COMP_WORDS": line, "COMP_CWORD": word}
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=False,
            env=environment(**given),
            encoding="utf-8",
            timeout=30,
        ).stdout.split()

    assert "evaluators" in offered("assay eval", "1")
    assert "results" in offered("assay batch res", "2")
    assert "--criteria" in offered("assay evaluate --crit", "2")


def test_colours_are_for_terminals_that_want_them(assay_on_a_terminal, assay, tmp_path):
    """None in a pipe, and none with NO_COLOR."""
    wrong = ("doctor", "--url", "http://127.0.0.1:1")
    assert "\x1b[" not in assay(*wrong).stdout
    assert "\x1b[1;31m" in assay_on_a_terminal(*wrong)
    assert "31m" not in assay_on_a_terminal(*wrong, env={"NO_COLOR": "1"})


def test_keys_are_listed_without_what_they_are(assay, tmp_path):
    """By the beginnings of their hashes; a line that allows nothing is said."""
    assay("keys", "create", "--tenant", "search", "--keys-file", "keys", "--name", "ci")
    (tmp_path / "keys").write_text((tmp_path / "keys").read_text() + "nonsense\n")
    ran = assay("keys", "list", "keys", "--json")
    (key,) = map(json.loads, ran.stdout.splitlines())
    assert (key["tenant"], key["role"], key["name"], key["expires"]) == (
        *("search", "write", "ci"),
        None,
    )
    assert "line 2 allows nothing" in ran.stderr
    assert "search" in assay("keys", "list", "keys").stdout
