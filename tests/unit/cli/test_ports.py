"""A port that is taken, as on the host of a second process."""

import socket

import pytest

SHARED_REDIS = {"ASSAY_REDIS__URL": "redis://127.0.0.1:1/0"}


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["worker", "--metrics-port={port}"], "--metrics-port"),
        (["serve", "--port=0", "--metrics-port={port}"], "--metrics-port"),
        (["serve", "--port={port}", "--metrics-port=0"], "--port"),
    ],
)
def test_a_taken_port_names_the_option_that_changes_it(assay, taken, arguments, option):
    """The message has the port and the option, and the exit code is that of wrong use."""
    ran = assay(*(word.format(port=taken) for word in arguments), env=SHARED_REDIS)
    assert ran.returncode == 2
    assert (
        f"port {taken} of 127.0.0.1 is already in use; choose another one with {option}\n"
        in ran.stderr
    )


def test_a_variable_that_sets_nothing_is_told(assay, taken):
    """The command goes on, with the default of the setting that was probably meant."""
    ran = assay("worker", f"--metrics-port={taken}", env={**SHARED_REDIS, "ASSAY_PORT": "9000"})
    assert "ASSAY_PORT sets nothing; did you mean ASSAY_SERVER__PORT?" in ran.stderr
