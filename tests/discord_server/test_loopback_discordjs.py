"""The loopback Discord, met by the real discord.js voice client; collected where its npm packages are installed."""

import base64
import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.discord_server.control import XCHACHA20, run_discord_server
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import wait_until

pytestmark = pytest.mark.live

PROBE = Path(__file__).parent / "discordjs" / "probe.mjs"


def test_discord_js_hears_and_is_heard_bit_exact_under_dave() -> None:
    with run_discord_server() as control:
        channel_id, bot_id = control.voice_channel(), control.ready.bot_id
        person = control.add_person("Listener")
        control.join(person, channel_id, mode=XCHACHA20)
        said = synthetic_packets(50, 1)
        arguments = ["node", str(PROBE), json.dumps(asdict(control.ready)), str(channel_id), str(person)]
        environment = os.environ | {"NODE_EXTRA_CA_CERTS": control.ready.ca_file}

        with subprocess.Popen(
            arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as probe:
            assert probe.stdin is not None
            assert probe.stdout is not None
            assert probe.stdout.readline() == "joined\n"
            assert control.wait_secure(person)
            wait_until(lambda: set((control.room(channel_id) or {})["dave_members"]) == {bot_id, person})
            wait_until(lambda: bool((control.room(channel_id) or {})["dave_is_settled"]))
            probe.stdin.write("play\n")
            probe.stdin.flush()
            # discord.js drops what overtakes op 5, at first as much as it needs for starting to receive.
            control.speak_packets(person, synthetic_packets(25, 2))
            control.speak_packets(person, said)
            assert probe.stdout.readline() == "played\n"
            probe.stdin.write("end\n")
            probe.stdin.flush()
            heard = [base64.b64decode(packet) for packet in json.loads(probe.stdout.readline())]

        spoken = [packet for packet in heard if packet[:2] == said[0][:2]]
        assert spoken == said[-len(spoken) :]
        assert len(spoken) >= 48
        answered = [packet.opus for packet in control.heard(person, bot_id, "dave")]
        assert answered == synthetic_packets(50, 9)
        assert control.heard(person, bot_id, "clear") == []
        assert control.violations(bot_id) == []
