"""What people have set reaches the model, outlives `kill -9`, and keeps nobody waiting when it can't be read."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plexbridge.errors import StoreError
from plexbridge.people.discord.personas import UNREADABLE_SENTENCE
from tests.command import model_at
from tests.discord_bridge import Bridge, run_bridge, wait_bot
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probing import wait_until
from tests.interop.environment import ModelServer, run_model_server
from tests.interop.observer import State

pytestmark = pytest.mark.live

PERSONA = "You are a lighthouse keeper who speaks of ships."


def ask(control: Control, person: int, path: str, **options: str) -> Any:
    """Let a person use a command; return what they read."""
    used = control.use_command(person, control.ready.channels["general"], path, **options)
    wait_until(lambda: control.interaction(used)["original"] is not None)
    return control.interaction(used)["original"]["content"]


def wait_commands(control: Control, after: int) -> None:
    """Wait until Discord has been told which commands there are."""
    control.wait("rest", f"PUT /applications/{control.ready.application_id}/commands", after=after)


def talk(control: Control, model: ModelServer, person: int) -> State:
    """Let a person enter, wait for the model, and leave; return what the model was asked for."""
    sessions = model.state().sessions_started
    control.join(person, control.voice_channel())
    state = model.wait_state(handshakes=sessions + 1)
    control.leave(person)
    wait_bot(control, control.voice_channel(), is_there=False)
    model.wait_state(lock_held=False)
    return state


def kill(bridge: Bridge) -> None:
    """End plexbridge as a power cut would."""
    bridge.process.send_signal(signal.SIGKILL)
    bridge.process.wait()


def test_everybodys_settings_reach_the_model_and_outlive_a_kill(tmp_path: Path) -> None:
    with run_discord_server() as control, run_model_server("--voices", "NATF0.pt,NATM1.pt,VARF3.pt") as model:
        ada, bob = control.add_person("Ada"), control.add_person("Bob")
        after = control.last_index
        with run_bridge(control, tmp_path, model_at(model.url)) as bridge:
            wait_commands(control, after)
            assert "from the next conversation on that you start" in ask(control, ada, "voice", name="natm1.pt")
            assert "from the next conversation on that you start" in ask(control, ada, "persona", text=PERSONA)
            assert "from the next conversation on that you start" in ask(control, bob, "voice", name="VARF3")
            kill(bridge)
        after = control.last_index
        with run_bridge(control, tmp_path, model_at(model.url)) as bridge:
            wait_commands(control, after)
            of_ada = talk(control, model, ada)
            of_bob = talk(control, model, bob)
            assert "usual voice and persona again" in ask(control, ada, "reset")
            of_ada_again = talk(control, model, ada)
            log = bridge.log

    assert of_ada.voice.startswith("NATM1")
    assert PERSONA in of_ada.text_prompt
    assert of_bob.voice.startswith("VARF3")
    assert PERSONA not in of_bob.text_prompt
    assert of_ada_again.voice.startswith("NATF0")
    assert PERSONA not in of_ada_again.text_prompt
    assert "lighthouse" not in log


def test_a_database_that_fails_keeps_nobody_from_talking(tmp_path: Path) -> None:
    with run_discord_server() as control, run_model_server("--voices", "NATF0.pt,NATM1.pt,VARF3.pt") as model:
        ada = control.add_person("Ada")
        after = control.last_index
        with run_bridge(control, tmp_path, model_at(model.url)) as bridge:
            wait_commands(control, after)
            ask(control, ada, "voice", name="NATM1")
            with closing(sqlite3.connect(tmp_path / "plexbridge.db")) as database:
                (table,) = database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'person%'").fetchone()
                database.execute(f"DROP TABLE {table}")
                database.commit()
            refused = ask(control, ada, "voice", name="NATM2")
            of_ada = talk(control, model, ada)
            said = [message["content"] for message in control.messages(control.voice_channel())]
            ended = bridge.stop()

    assert refused == StoreError.user_message
    assert of_ada.voice.startswith("NATF0"), "the configured one"
    assert said[0] == UNREADABLE_SENTENCE
    assert (ended.code, "Traceback" in ended.stderr) == (0, False)
