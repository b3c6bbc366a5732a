"""A Discord of our own on 127.0.0.1: REST, gateway, voice gateway, encrypted media, and people who talk in it.

Real client libraries connect to it over real sockets. It runs as a process of its own (`python -m
tests.discord_server`), is steered over a small HTTP interface (`control.py` is its typed client), and keeps a record
of everything that the client did, including each breach of Discord's rules.

Reading order: `options`, `record`, `permissions`, `guild` and `world` (who and what exists), `rest` with `answers`,
`messages`, `interactions` and `webhooks`, `gateway`; then voice: `transport` (packets and their encryption), `mls` and
`dave` (end-to-end encryption, server side), `room` (one voice channel), `faults`, `media`, `voice_gateway`, `hub` (who
may be in which room); the people: `person`, `person_voice`, `camera`, `hearing`, `speech`; and `server`, `control_api`
with its `verbs_...`, `control` with its parts, which put it together. `probe_bot` is a bot on real discord.py for the
server's own tests, `raw_bot` one without any library. What Discord itself does and no document says (timing, the order
of some messages) follows what client libraries were seen to need.
"""
