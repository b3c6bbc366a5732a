"""What a call looks like in a terminal: a live line while it lasts, and a summary on one screen at its end."""

from rich.console import Console

from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, UPLINK_FRAME_SAMPLES
from plexbridge.session.ledger import Distribution, Ledger

_METER_CELLS = 12
_METER_FLOOR_DBFS = -60.0


def meter(level_dbfs: float) -> str:
    """Return a bar for a level between -60 and 0 dBFS."""
    share = 1 - max(_METER_FLOOR_DBFS, min(0.0, level_dbfs)) / _METER_FLOOR_DBFS
    full = round(share * _METER_CELLS)
    return "█" * full + "·" * (_METER_CELLS - full)


def live_line(ledger: Ledger, *, input_dbfs: float, output_dbfs: float, seconds_left: float) -> str:
    """Return the present state of a call in one line."""
    depth_ms = ledger.playout.depth_samples / PEOPLE_RATE_HZ * 1000
    delay_ms = ledger.delay.total_seconds * 1000
    return (
        f"in {meter(input_dbfs)}  out {meter(output_dbfs)}  "
        f"playout {depth_ms:3.0f} ms  delay {delay_ms:3.0f} ms  {seconds_left:5.1f} s left"
    )


def print_summary(console: Console, ledger: Ledger, *, handshake_seconds: float) -> None:
    """Print what a call came to."""
    rows = _summary(ledger, handshake_seconds=handshake_seconds)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"{name:<{width}}  {value}", highlight=False, markup=False, soft_wrap=True)


def _summary(ledger: Ledger, *, handshake_seconds: float) -> list[tuple[str, str]]:
    playout = ledger.playout
    first = ledger.first_sound_seconds
    rows = [
        ("handshake", f"{handshake_seconds:.2f} s"),
        ("frames sent", str(ledger.frames_sent)),
        ("frames received", f"{ledger.samples_received / UPLINK_FRAME_SAMPLES:.0f}"),
        ("frames concealed", f"{playout.concealed_samples / PEOPLE_FRAME_SAMPLES:.1f} ({playout.underruns} gaps)"),
        *((f"frames shed: {reason.value}", f"{frames:.1f}") for reason, frames in ledger.shed_frames.items()),
    ]
    if not ledger.shed_frames:
        rows.append(("frames shed", "0"))
    if playout.lost_packets or playout.damaged_packets:
        rows.append(("packets lost, damaged", f"{playout.lost_packets}, {playout.damaged_packets}"))
    rows.append(("first sound of the answer", "none" if first is None else f"{first:.2f} s after the first frame"))
    if ledger.round_trip_seconds is not None:
        rows.append(("round trip to the model", f"{ledger.round_trip_seconds * 1000:.1f} ms"))
    rows += [
        ("delay p50 / p99", _percentiles(ledger.total)),
        ("  on the way up", _percentiles(ledger.up)),
        ("  owed by the model", _percentiles(ledger.owed)),
        ("  on the way down", _percentiles(ledger.down)),
    ]
    return rows


def _percentiles(distribution: Distribution) -> str:
    p50, p99 = distribution.percentile_seconds(50), distribution.percentile_seconds(99)
    return "none" if p50 is None or p99 is None else f"{p50 * 1000:.0f} / {p99 * 1000:.0f} ms"
