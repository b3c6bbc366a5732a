"""The bot's own voice that comes back through somebody's loudspeakers: recognised, and kept out of the mix.

A model that hears itself answers itself. What comes back is late (jitter buffers, loudspeaker, room, the way back),
quieter, coloured by the room and coded twice, so it can't be subtracted sample by sample. What survives all that is
how the loudness of each frequency band rises and falls. So both sides are kept as band powers, a row for each 20 ms:

* `Reference` holds what was played lately, once for everybody;
* `EchoGuard`, one for each person, correlates what they send with it, at every lag at once, in decibels and with the
  average of each band taken off. A high correlation names the *path*: its lag, and its gain in each band.

From then on every frame is compared with what the path predicts of it. A frame that is explained so is echo. One that
holds much more is somebody who speaks over the bot, and is let through as it is, echo and all.

To find a path takes a second, and a model that hears itself for a second has answered. So while no path is known, a
sound that comes while the bot speaks and is fainter than the bot by `FAINT` or more is held to be echo, until there
was time to see that it is not. Voices are not so faint; who speaks that softly has the rest of the bot's sentence.
An echo that is louder passes until its path is found, once.

While the bot is silent nothing is computed, and everything passes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, UPLINK_FRAME_SAMPLES, Samples

Powers = NDArray[np.float32]
"""Mean squares in each band, shape (BANDS,); over time, shape (frames, BANDS), the latest last."""

_EDGES = np.array((3, 5, 7, 9, 11, 14, 17, 20, 24, 28, 33, 39, 46, 54, 64, 80))
"""In bins of 50 Hz, which frames of 20 ms have at any rate: 150 Hz to 4 kHz, in steps about as wide as the ear's."""
BANDS = len(_EDGES) - 1

REACH_FRAMES = 50
"""The longest lag, a second: both ways with jitter buffers of 200 ms, loudspeakers over radio, and some."""
WINDOW_FRAMES = 50
"""What is correlated, a second: four or five syllables. Other people's speech reaches 0.6 at the best of all lags."""
SHORT_FRAMES = 25
"""Half of it can be judged too, but by a higher mark: there, other speech reaches 0.86."""
EVERY_FRAMES = 5
"""How often a path is looked for."""
ECHO_CORRELATION, SHORT_ECHO_CORRELATION = 0.68, 0.88
OTHER_CORRELATION = 0.5
"""What is less is no echo."""
FORGET_LOOKS = 10
"""A path that is not confirmed so often in a row, in a second, is there no longer: somebody has put headphones on."""
FAINT = 10**-1.2
"""12 dB."""
VOICE_FRAMES = 50
"""So long after a sound that is not faint, those that are belong to it."""
MARGIN = 6.0
"""So many times what is predicted (8 dB) is still echo: rooms are not as even as the prediction."""
LOUD_MARGIN = 25.0
"""What exceeds this (14 dB) is a voice at once; between the two it must be so for `OVERTALK_FRAMES`."""
OVERTALK_FRAMES = 3
HOLD_FRAMES = 10
"""Who has spoken over the bot is heard to the end of the word."""
UNEXPLAINED = 0.3
"""The share of a frame's power that has to be above the margin."""

_EARLY_FRAMES, _LATE_FRAMES = 3, 2
"""How far a lag may stray while some jitter buffer adapts."""
BETTER = 0.05
"""By so much, and twice, another lag must be better than the one that is known."""
_DECAY, _TAIL_DECAY = 0.4, 0.7
"""How fast a room falls silent, in power per frame: usually, for correlating; at the slowest, for predicting. They are
reverberation times of 0.3 s and 0.8 s."""
_TAIL_FRAMES = 25
_PAUSE_FRAMES = 15
"""After a sentence there is only the room's tail to go by, and makes lags look longer."""
_RANGE = 1e-3
"""What is 30 dB below the loudest in its band tells nothing."""
_LOUD = 0.01
"""What is 20 dB below it is no measure of the path's gain."""
_EVENNESS_DB = 2.0
"""What varies by less, as a tone or a hum does, resembles everything."""
_NOTHING = 1e-10
"""-100 dBFS in one band: where a tail ends, and the least noise."""
_NOISE_RISE = 1.01
"""By how much the noise in a room is taken to grow while it can't be seen: 2 dB in a second."""
_SMOOTHING = 0.3
"""How much each new look changes the gains."""

_HANN_POWER = 0.375
_WINDOWS = {
    size: (np.hanning(size + 1)[:-1] * np.sqrt(2 / _HANN_POWER) / size).astype(np.float32)
    for size in (UPLINK_FRAME_SAMPLES, PEOPLE_FRAME_SAMPLES)
}
"""Scaled so that the squares of a spectrum are mean squares."""
_PARTS = 2 * _EDGES
"""Where the bands begin among the real and imaginary parts, which lie in turns."""


def band_powers(samples: Samples) -> Powers:
    """Return what 20 ms, at 24 or 48 kHz, hold in each band."""
    parts = np.fft.rfft(samples * _WINDOWS[samples.size]).view(np.float32)[: _PARTS[-1]]
    powers: Powers = np.add.reduceat(parts * parts, _PARTS[:-1])
    return powers


class _Rows:
    """The latest `count` rows, the oldest first; they move through a longer piece of memory, and seldom back."""

    def __init__(self, count: int) -> None:
        self._count = self._end = count
        self._store: Powers = np.zeros((3 * count, BANDS), np.float32)

    @property
    def latest(self) -> Powers:
        """All of them."""
        return self._store[self._end - self._count : self._end]

    def push(self) -> Powers:
        """Forget the oldest; return the new one, which is to be filled."""
        if self._end == len(self._store):
            self._store[: self._count] = self.latest
            self._end = self._count
        self._end += 1
        row: Powers = self._store[self._end - 1]
        return row


class Reference:
    """What was played in the last two seconds; `tick` goes with the beat of what people say, so that lags are its."""

    _ROWS = REACH_FRAMES + WINDOW_FRAMES + _LATE_FRAMES

    def __init__(self) -> None:
        self._powers, self._tails = _Rows(self._ROWS), _Rows(self._ROWS)
        self._new: Powers | None = None
        self._quiet_frames = self._ROWS
        self.active_frames = 0
        """For how long it has been active."""

    @property
    def is_active(self) -> bool:
        """Whether the bot spoke so lately that it can still come back."""
        return self._quiet_frames <= REACH_FRAMES + _TAIL_FRAMES

    @property
    def is_playing(self) -> bool:
        """Whether the bot speaks at the moment, but for pauses in a sentence."""
        return self._quiet_frames < _PAUSE_FRAMES

    @property
    def loudest(self) -> float:
        """The greatest power that may come back now."""
        return float(self._powers.latest[-REACH_FRAMES:].sum(axis=1).max())

    def played(self, samples: Samples) -> None:
        """Take 20 ms, 960 samples at 48 kHz, that were sent and can be heard; silence need not be told."""
        powers = band_powers(samples)
        self._new = powers if self._new is None else np.maximum(self._new, powers)

    def tick(self, frames: int = 1) -> None:
        """So many frames were, or should have been, heard since the last time."""
        for _ in range(min(frames, self._ROWS)):
            self._quiet_frames = 0 if self._new is not None else min(self._quiet_frames + 1, self._ROWS)
            self.active_frames = self.active_frames + 1 if self.is_active else 0
            if not self.is_active and not self._powers.latest.any():
                return
            self._push(self._powers, _DECAY)
            self._push(self._tails, _TAIL_DECAY)
            self._new = None

    def _push(self, rows: _Rows, decay: float) -> None:
        before = rows.latest[-1]
        row = rows.push()
        np.multiply(before, decay, out=row)
        if self._new is None:
            row[row < _NOTHING] = 0
        else:
            np.maximum(row, self._new, out=row)

    def before(self, lag_frames: int, frames: int) -> Powers:
        """Return what was played in as many frames, the last of them `lag_frames` ago."""
        end = self._ROWS - lag_frames
        return self._powers.latest[end - frames : end]

    def expected(self, lag_frames: int) -> Powers:
        """Return what may come back now with a lag of about so much."""
        first = self._ROWS - 1 - lag_frames - _LATE_FRAMES
        return np.asarray(self._tails.latest[first : self._ROWS - max(0, lag_frames - _EARLY_FRAMES)].max(axis=0))

    def correlations(self, powers: Powers) -> NDArray[np.float32] | None:
        """Return how much `powers` are like what was played, -1..1 for lags of 0, 1 .. `REACH_FRAMES`.

        None for what varies too little to be like anything.
        """
        frames = len(powers)
        ours = _decibels(powers)
        ours -= ours.mean(axis=0)
        energy, least = float(np.square(ours).sum()), _EVENNESS_DB**2 * ours.size
        if energy < least:
            return None
        theirs = _decibels(self._powers.latest[-(REACH_FRAMES + frames) :])
        # The averages of `theirs` fall out, since `ours` have none.
        products = _diagonal_sums(theirs @ ours.T, REACH_FRAMES + 1)
        energies = _moving_energies(theirs, frames)
        products[energies < least] = 0
        return np.asarray((products / np.sqrt(np.maximum(energies, least) * energy))[::-1], np.float32)


@dataclass(frozen=True, slots=True)
class Path:
    """How the bot's voice comes back from one person."""

    lag_frames: int
    gains_db: Powers
    """In each band."""


class EchoGuard:
    """Says of each frame of one person whether it is the bot's own voice that comes back."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._powers = _Rows(WINDOW_FRAMES)
        self._noise: Powers = np.full(BANDS, 1.0, np.float32)
        self._sound_frames = 0
        """Since they began, within a window; pauses count."""
        self._silent_frames = 0
        self._looked_frames = 0
        self._overtalk_frames = self._hold_frames = self._unconfirmed = 0
        self._seen_lag_frames = 0
        self._is_cleared = False
        """What they send while the bot speaks this time is their own."""
        self.path: Path | None = None

    @property
    def is_idle(self) -> bool:
        """Whether `pause` has nothing more to do."""
        return not self._sound_frames

    def pause(self) -> None:
        """Nothing has come of them in this tick."""
        if self._sound_frames:
            self._push(None)

    def is_echo(self, samples: Samples) -> bool:
        """Take 20 ms, 480 samples at 24 kHz; say whether the bot's voice is all that matters in it."""
        if not self._reference.is_active:
            self._sound_frames = self._hold_frames = self._overtalk_frames = 0
            self._is_cleared = False
            return False
        powers = band_powers(samples)
        self._push(powers)
        self._looked_frames += 1
        if self._looked_frames >= EVERY_FRAMES and self._sound_frames >= SHORT_FRAMES and self._reference.is_playing:
            self._looked_frames = 0
            self._look()
        return self._is_faint(powers) if self.path is None else self._is_explained(powers, self.path)

    def _push(self, powers: Powers | None) -> None:
        self._powers.push()[:] = 0 if powers is None else powers
        if powers is None:
            self._silent_frames += 1
        else:
            self._noise *= np.float32(_NOISE_RISE)
            np.minimum(self._noise, powers + np.float32(_NOTHING), out=self._noise)
            self._silent_frames = 0
        self._sound_frames = min(self._sound_frames + 1, WINDOW_FRAMES)
        if self._silent_frames >= WINDOW_FRAMES:
            self._sound_frames = 0

    def _look(self) -> None:
        """Find the lag at which what has come is most like what was played, and learn from it."""
        correlations = self._reference.correlations(self._powers.latest[-self._sound_frames :])
        if correlations is None:
            return
        is_whole = self._sound_frames == WINDOW_FRAMES
        lag_frames = int(correlations.argmax())
        correlation = float(correlations[lag_frames])
        if correlation >= (ECHO_CORRELATION if is_whole else SHORT_ECHO_CORRELATION):
            self._unconfirmed = 0
            is_settled = self.path is None or abs(lag_frames - self._seen_lag_frames) <= 1
            self._seen_lag_frames = lag_frames
            if self.path is not None and (not is_settled or correlation - correlations[self.path.lag_frames] < BETTER):
                lag_frames = self.path.lag_frames
            self._follow(lag_frames)
        elif is_whole and correlation < OTHER_CORRELATION:
            self._doubt()

    def _doubt(self) -> None:
        """What has come is not like what was played."""
        if self.path is None:
            self._is_cleared = self._reference.active_frames >= WINDOW_FRAMES + REACH_FRAMES // 2
            return
        self._unconfirmed += 1
        if self._unconfirmed >= FORGET_LOOKS:
            self.path = None

    def _follow(self, lag_frames: int) -> None:
        """Take a path of this lag for the present one; its gains are what the loud frames have in common."""
        ours = self._powers.latest[-self._sound_frames :]
        theirs = self._reference.before(lag_frames, self._sound_frames)
        is_loud = (theirs > _LOUD * theirs.max(axis=0)) & (ours > _LOUD * _RANGE * ours.max(axis=0))
        ratios = np.where(is_loud, _raw_decibels(ours) - _raw_decibels(theirs), 0)
        gains_db = np.asarray(ratios.sum(axis=0) / is_loud.sum(axis=0).clip(1), np.float32)
        if self.path is None:
            self._hold_frames = 0
        else:
            gains_db = self.path.gains_db + _SMOOTHING * (gains_db - self.path.gains_db)
        self.path = Path(lag_frames, gains_db)

    def _is_faint(self, powers: Powers) -> bool:
        """Say whether a frame may be echo of which no path is known; next to a louder sound of theirs it is not."""
        if self._is_cleared or float(powers.sum()) >= FAINT * self._reference.loudest:
            self._hold_frames = VOICE_FRAMES
        elif self._hold_frames:
            self._hold_frames -= 1
        return not self._hold_frames

    def _is_explained(self, powers: Powers, path: Path) -> bool:
        gains = 10 ** (path.gains_db / np.float32(10))
        expected = self._reference.expected(path.lag_frames) * gains + self._noise
        total = float(powers.sum())
        is_over = _excess(powers, expected, MARGIN) > UNEXPLAINED * total
        is_far_over = is_over and _excess(powers, expected, LOUD_MARGIN) > UNEXPLAINED * total
        self._overtalk_frames = self._overtalk_frames + 1 if is_over else 0
        if is_far_over or self._overtalk_frames >= OVERTALK_FRAMES:
            self._hold_frames = HOLD_FRAMES
        elif self._hold_frames:
            self._hold_frames -= 1
        return not self._hold_frames


def _excess(powers: Powers, expected: Powers, margin: float) -> float:
    return float(np.maximum(powers - np.float32(margin) * expected, 0).sum())


def _raw_decibels(powers: Powers) -> Powers:
    return np.asarray(10 * np.log10(powers + np.float32(1e-12)), np.float32)


def _decibels(powers: Powers) -> Powers:
    """Return decibels, with what is too faint beside the loudest of its band raised to one floor."""
    return _raw_decibels(powers + np.float32(_RANGE) * powers.max(axis=0))


def _diagonal_sums(table: Powers, count: int) -> NDArray[np.float32]:
    """Return the sums of the first `count` diagonals: of the table's top left corner, from one row lower, and so on."""
    down, right = table.strides
    diagonals: NDArray[np.float32] = np.ndarray((count, table.shape[1]), np.float32, table, 0, (down, down + right))
    return np.asarray(diagonals.sum(axis=1))


def _moving_energies(rows: Powers, count: int) -> NDArray[np.float64]:
    """Return how much `count` successive rows vary: the squares of what exceeds each band's average, added up."""
    ends = np.zeros((len(rows) + 1, BANDS + 1))
    np.cumsum(rows, axis=0, out=ends[1:, :BANDS])
    np.cumsum(np.einsum("ij,ij->i", rows, rows), out=ends[1:, BANDS])
    sums = ends[count:] - ends[:-count]
    averaged = sums[:, :BANDS]
    return np.asarray(sums[:, BANDS] - np.einsum("ij,ij->i", averaged, averaged) / count)
