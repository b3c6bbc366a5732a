"""A script for the interoperability environments: do things to sphn, print what came of it as JSON.

It reads one JSON object on stdin. With `streams`, named lists of base64 chunks, it feeds each to a fresh
`OpusStreamReader(24000)`; with `pcm`, base64 float32, it gives that to a fresh `OpusStreamWriter(24000)` in appends
of `append_samples` and tells the rest about the interface. It asserts nothing: the tests do. Both shapes of sphn's
interface are served: 0.1 (append, then read what a thread has decoded) and 0.2 (append returns the result).
"""

import base64
import json
import sys
import time
from typing import Any

import numpy as np
import sphn

RATES_HZ = (8_000, 12_000, 16_000, 24_000, 44_100, 48_000)
APPEND_SAMPLES = (60, 120, 240, 480, 960, 1_440, 1_920, 2_880, 3_840)
QUIET_SECONDS = 0.3
"""sphn 0.1 decodes in a thread of its own; this long without a new sample means that it is done."""

IS_THREADED = hasattr(sphn.OpusStreamReader, "read_pcm")


class Case:
    """One reader and what it gave so far."""

    def __init__(self) -> None:
        self.reader = sphn.OpusStreamReader(24_000)
        self.pcm: list[Any] = []
        self.errors: list[str] = []
        self.is_dead = False

    def append(self, chunk: bytes) -> None:
        """Feed one chunk; an exception is noted, and later chunks are still fed."""
        try:
            pcm = self.reader.append_bytes(chunk)
        except Exception as exc:
            self.errors.append(f"{type(exc).__name__}: {exc}")
        else:
            if not IS_THREADED:
                self.pcm.append(pcm)

    def collect(self) -> bool:
        """Take what the thread has decoded; tell if there was anything."""
        if self.is_dead or not IS_THREADED:
            return False
        try:
            pcm = self.reader.read_pcm()
        except Exception as exc:
            self.errors.append(f"{type(exc).__name__}: {exc}")
            self.is_dead = True
            return True
        if pcm is None:
            self.is_dead = True
            return True
        self.pcm.append(pcm)
        return bool(len(pcm))

    def decoded(self) -> Any:
        """Return the PCM so far."""
        return np.concatenate(self.pcm) if self.pcm else np.zeros(0, np.float32)

    def result(self) -> dict[str, object]:
        """Return samples, errors, death, and the RMS of each 20 ms."""
        pcm = self.decoded()
        frames = pcm[: len(pcm) // 480 * 480].reshape(-1, 480)
        levels = [round(float(np.sqrt(np.mean(frame**2))), 6) for frame in frames]
        return {
            "samples": len(pcm),
            "errors": self.errors,
            "is_dead": self.is_dead,
            "rms": levels,
        }


def run_readers(cases: dict[str, list[str]]) -> dict[str, Case]:
    """Feed all cases, then wait until none of their threads gives anything more."""
    running = {name: Case() for name in cases}
    for name, chunks in cases.items():
        for chunk in chunks:
            running[name].append(base64.b64decode(chunk))
    quiet_at = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < quiet_at:
        # Every case is asked each time: not `any` over a generator.
        heard = [case.collect() for case in running.values()]
        if any(heard):
            quiet_at = time.monotonic() + QUIET_SECONDS
        time.sleep(0.005)  # sphn decodes in threads of its own, and tells nobody when
    return running


def outcome(action: Any, *arguments: object) -> str:
    """Return "ok" or the name of what was raised."""
    try:
        action(*arguments)
    except Exception as exc:
        return type(exc).__name__
    return "ok"


def run_writer(pcm: Any, append_samples: int) -> list[str]:
    """Return what each read (0.1: one after every append, and one before) or append (0.2) gave."""
    writer = sphn.OpusStreamWriter(24_000)
    given: list[bytes] = []

    def drain() -> None:
        while chunk := writer.read_bytes():
            given.append(chunk)

    if IS_THREADED:
        drain()
    for start in range(0, len(pcm) - append_samples + 1, append_samples):
        result = writer.append_pcm(pcm[start : start + append_samples])
        if IS_THREADED:
            drain()
        else:
            given.append(result)
    return [base64.b64encode(bytes(chunk)).decode() for chunk in given]


def answer_about_writing(pcm: Any, append_samples: int) -> dict[str, object]:
    """Return the interface of this sphn, what it takes, and what its writer makes of `pcm` and of silence."""
    frame = np.zeros(1_920, np.float32)
    inputs = {
        "float64": frame.astype(np.float64),
        "int16": frame.astype(np.int16),
        "two-dimensional": frame[None, :],
        "float32": frame,
    }

    def append(value: Any) -> str:
        return outcome(sphn.OpusStreamWriter(24_000).append_pcm, value)

    written = run_writer(pcm, append_samples)
    own_writing = run_readers({"": written})[""].decoded()
    return {
        "reader_methods": [name for name in dir(sphn.OpusStreamReader) if not name.startswith("_")],
        "writer_methods": [name for name in dir(sphn.OpusStreamWriter) if not name.startswith("_")],
        "append_returns": type(sphn.OpusStreamWriter(24_000).append_pcm(frame)).__name__,
        "rates": {str(rate): outcome(sphn.OpusStreamWriter, rate) for rate in RATES_HZ},
        "appends": {str(count): append(np.zeros(count, np.float32)) for count in APPEND_SAMPLES},
        "inputs": {name: append(value) for name, value in inputs.items()},
        "written": written,
        "written_silence": run_writer(np.zeros_like(pcm), append_samples),
        "own_writing_pcm": base64.b64encode(own_writing.tobytes()).decode(),
    }


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    if "streams" in request:
        read = run_readers(request["streams"])
        json.dump({"streams": {name: case.result() for name, case in read.items()}}, sys.stdout)
    else:
        pcm = np.frombuffer(base64.b64decode(request["pcm"]), np.float32)
        json.dump(answer_about_writing(pcm, request["append_samples"]), sys.stdout)


if __name__ == "__main__":
    main()
