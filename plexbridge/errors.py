"""The exceptions of plexbridge, and the one sentence that a person may see for each.

`user_message` is for people: it holds no jargon and no exception text. `str(error)` is the cause, for the log; it
never holds a prompt, a token or audio. A class exists where the sentence or the damage differs, not for every place
that can fail.
"""


class PlexbridgeError(Exception):
    """Anything that plexbridge itself reports; `user_message` is the sentence for the person concerned."""

    user_message = "Something went wrong inside plexbridge. The log says more."


class ConfigError(PlexbridgeError):
    """The configuration can't be used; raised at start-up with every fault found, one line each."""

    user_message = "The configuration can't be used."

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class LibraryMissing(PlexbridgeError):
    """A system library is not installed; the text names the package for each system."""

    user_message = "A system library that plexbridge needs is not installed."


class LibraryUnfit(PlexbridgeError):
    """A Python library is missing, of the wrong version, or another one has taken its name."""

    def __init__(self, user_message: str) -> None:
        super().__init__(user_message)
        self.user_message = user_message


class RequestError(PlexbridgeError):
    """The user asked for something that can't be done: an unknown voice, a file that is not a WAV."""

    user_message = "That can't be done."

    def __init__(self, user_message: str) -> None:
        super().__init__(user_message)
        self.user_message = user_message


class PacketError(PlexbridgeError):
    """One packet is no valid Opus; it is counted and dropped, and nothing else is disturbed."""


class ProtocolError(PlexbridgeError):
    """The rules of a protocol were broken; see the two subclasses for by whom."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what its protocol does not allow."""

    user_message = "The speech model sent something that plexbridge does not understand."


class LocalProtocolError(ProtocolError):
    """Our own code asked for what the protocol does not allow: a bug in plexbridge."""


class LinkError(PlexbridgeError):
    """The connection to the speech model can't be made or was lost; subclasses say which and why."""

    user_message = "The connection to the speech model failed."


class ModelUnreachable(LinkError):
    """Nothing answers at the address: name not found, refused, no route, or no WebSocket there."""

    user_message = "The speech model can't be reached. Please try again later."


class ModelUntrusted(LinkError):
    """TLS failed: unknown certificate, wrong name, or one side speaks TLS and the other does not."""

    user_message = "The speech model's address or certificate is not right, so no connection was made."


class ModelRefused(LinkError):
    """The server closed the connection before its handshake: PersonaPlex does so for a voice it does not have."""

    user_message = "The speech model refused the call. Its voice or persona may not exist on this server."


class ModelBusy(LinkError):
    """The model serves as many calls as it can, through this machine or another."""

    user_message = "The speech model is busy with another call. Please try again later."


class ModelLost(LinkError):
    """The running conversation broke: the server closed, died or sent what can't be used."""

    user_message = "The connection to the speech model was lost."


class ModelSilent(ModelLost):
    """The connection stands, but the model has stopped answering."""

    user_message = "The speech model has stopped answering."


class ModelSlow(ModelLost):
    """The model stayed behind for so long that it is left for another one."""

    user_message = "The speech model is too slow."


class TurnOver(PlexbridgeError):
    """The conversation's time is up, because others wait for a model."""

    user_message = "Your time is up, because others are waiting for a speech model."


class ModelLimit(LinkError):
    """The conversation reached the model's configured time limit (`limit_seconds`)."""

    user_message = "The speech model's time for one call is used up."


class DiscordError(PlexbridgeError):
    """Discord, or the way to it, fails; subclasses say how."""

    user_message = "The connection to Discord failed."


class DiscordRefused(DiscordError):
    """Discord does not accept the bot's token, or does not let the bot in."""

    user_message = "Discord does not accept the bot's token. Set discord.token to the one of your application."


class DiscordUnreachable(DiscordError):
    """Discord can't be reached when the bot logs in."""

    user_message = "Discord can't be reached."


class DiscordLost(DiscordError):
    """The connection to Discord, or the event loop that held it, has ended."""

    user_message = "The connection to Discord was lost."


class VoiceRefused(DiscordError):
    """A voice channel can't be joined: no answer in time, or Discord closes the connection."""

    user_message = "The voice channel could not be joined."


class VoiceForbidden(DiscordError):
    """The bot may not do in a channel what it has to; the sentence names what, and where to allow it."""

    def __init__(self, user_message: str) -> None:
        super().__init__(user_message)
        self.user_message = user_message


class VoiceEnded(DiscordError):
    """The bot was meant to leave the voice channel: a moderator or Discord has taken it out."""

    def __init__(self, cause: str, user_message: str) -> None:
        super().__init__(cause)
        self.user_message = user_message


class VoiceLost(DiscordError):
    """The connection to the voice channel broke, and could not be restored in time."""

    user_message = "The connection to the voice channel was lost and could not be restored."


class StoreError(PlexbridgeError):
    """What people have set can't be saved or read: the database is locked, full, damaged, gone or silent."""

    user_message = "Your settings can't be saved or read at the moment."


class ForgetfulStore(StoreError):
    """Somebody has asked not to be heard, which holds but can't be saved."""

    user_message = (
        "I don't hear you any more, but that can't be saved at the moment and will be forgotten when I am restarted. "
        "Please say it again later."
    )


class RecordingError(PlexbridgeError):
    """A recording can't be written: the disk is full, gone or not ours to write to."""

    user_message = "The recording has ended, because it can't be written any more."


class SpeechError(PlexbridgeError):
    """A speech engine can't be had, or failed with an utterance; `is_passing` when another attempt makes sense."""

    user_message = "Speech can't be transcribed at the moment."

    def __init__(self, cause: str, *, is_passing: bool = False, retry_seconds: float = 0.0) -> None:
        """`retry_seconds` is how long the engine itself asks to be left alone."""
        super().__init__(cause)
        self.is_passing = is_passing
        self.retry_seconds = retry_seconds


class TranscriptionFailed(PlexbridgeError):
    """`plexbridge transcribe` could not do what it was asked for, as a whole or in parts."""

    def __init__(self, user_message: str) -> None:
        super().__init__(user_message)
        self.user_message = user_message
