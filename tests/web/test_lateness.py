"""How late a page is, and what it may send."""

from hypothesis import given
from hypothesis import strategies as st

from plexbridge.people.web.allowance import Allowance, Verdict
from plexbridge.people.web.lateness import Lateness

FRAME_SECONDS = 0.02


class Page:
    """A page that is sent a frame every 20 ms, and reports five times a second."""

    def __init__(self) -> None:
        self.lateness = Lateness(0.0)
        self.tick = 0
        self.sent: list[int] = []

    @property
    def now_seconds(self) -> float:
        return self.tick * FRAME_SECONDS

    def run(self, seconds: float, *, played: int | None = None, behind_frames: int | None = None) -> int:
        """Go on; it reports `played`, or what was sent so many frames before the last; return how many were sent."""
        before = len(self.sent)
        for _ in range(round(seconds / FRAME_SECONDS)):
            if not self.lateness.withholds(self.now_seconds):
                self.lateness.sent(self.tick, now_seconds=self.now_seconds)
                self.sent.append(self.tick)
            self.tick += 1
            if self.tick % 10 == 0 and (played is not None or behind_frames is not None):
                report = played if behind_frames is None else ([-1] * 1000 + self.sent)[-1 - behind_frames]
                self.lateness.played(-1 if report is None else report, now_seconds=self.now_seconds)
        return len(self.sent) - before


def test_a_page_that_plays_what_it_gets_is_sent_everything() -> None:
    page = Page()

    assert page.run(60.0, behind_frames=18) == 3_000


def test_a_page_that_is_late_by_more_than_0_6_s_is_sent_nothing_until_it_is_late_by_less_than_0_3_s() -> None:
    page = Page()
    page.run(1.0, behind_frames=3)
    for _ in range(27):  # and three that it had
        assert not page.lateness.withholds(page.now_seconds)
        page.lateness.sent(page.tick, now_seconds=page.now_seconds)
        page.sent.append(page.tick)
        page.tick += 1
    assert page.lateness.unplayed_frames == 30, "0.6 s"

    assert page.run(0.02) == 1
    assert page.run(0.1) == 0
    page.lateness.played(page.sent[-16], now_seconds=page.now_seconds)
    assert page.lateness.unplayed_frames == 15, "0.3 s"
    assert page.run(0.1) == 0
    page.lateness.played(page.sent[-15], now_seconds=page.now_seconds)
    assert page.run(0.1) == 5


def test_a_page_that_says_nothing_for_2_s_is_sent_nothing_until_it_does() -> None:
    page = Page()
    page.run(10.0, behind_frames=0)
    page.lateness.played(2**32 - 1, now_seconds=page.now_seconds)

    assert not page.lateness.withholds(page.now_seconds + 1.99)
    assert page.lateness.withholds(page.now_seconds + 2.0)
    page.lateness.played(-1, now_seconds=page.now_seconds + 3.0)
    assert not page.lateness.withholds(page.now_seconds + 3.0)


def test_a_page_that_says_nothing_from_the_start_is_sent_0_6_s_and_one_frame() -> None:
    page = Page()

    assert page.run(30.0) == 31


def test_a_page_that_has_thrown_away_what_it_had_is_sent_0_3_s_every_2_s_until_it_plays_again() -> None:
    page = Page()
    page.run(1.0, behind_frames=0)
    last = page.sent[-1]

    assert page.run(0.7, played=last) == 31
    assert page.run(1.9, played=last) == 0
    assert page.run(0.5, played=last) == 16
    assert page.run(1.4, played=last) == 0, "it asks again only after two seconds more"
    assert page.run(0.8, played=last) == 16
    assert page.lateness.unplayed_frames == 16, "what was written off is not waited for"
    assert page.run(2.0, behind_frames=2) > 90


def test_a_page_that_plays_slowly_has_thrown_nothing_away() -> None:
    page = Page()
    page.run(1.0, behind_frames=0)
    page.run(1.0, played=page.sent[-1])
    begin = page.sent.index(page.sent[-1]) - 30

    sent = [page.run(1.0, played=page.sent[begin + step]) for step in range(10)]

    assert sent == [0] * 10
    assert page.lateness.unplayed_frames == 21


@given(st.lists(st.tuples(st.sampled_from(("tick", "report", "pause")), st.integers(-1, 2**32 - 1))))
def test_whatever_a_page_says_no_more_than_31_frames_are_unplayed(events: list[tuple[str, int]]) -> None:
    lateness, now_seconds, sequence = Lateness(0.0), 0.0, 0
    for event, number in events:
        if event == "report":
            lateness.played(number, now_seconds=now_seconds)
        elif event == "pause":
            now_seconds += number % 5
        else:
            for _ in range(20):
                now_seconds += FRAME_SECONDS
                sequence += 1
                if not lateness.withholds(now_seconds):
                    lateness.sent(sequence, now_seconds=now_seconds)
        assert lateness.unplayed_frames <= 31


def test_a_microphone_may_send_for_hours() -> None:
    allowance = Allowance(0.0)

    verdicts = {allowance.audio(tick * 0.0195) for tick in range(500_000)}

    assert verdicts == {Verdict.PASS}


def test_of_a_burst_the_first_100_pass_and_the_rest_is_dropped_and_what_comes_after_it_passes_again() -> None:
    allowance = Allowance(0.0)
    burst = [allowance.audio(10.0) for _ in range(600)]

    assert burst == [Verdict.PASS] * 100 + [Verdict.DROP] * 500
    assert [allowance.audio(10.02 + tick * 0.02) for tick in range(50)] == [Verdict.PASS] * 50


def test_who_sends_a_thousand_more_than_may_be_is_a_flood_at_once_or_in_time() -> None:
    at_once, in_time = Allowance(0.0), Allowance(0.0)

    assert [at_once.audio(0.0) for _ in range(1_101)].index(Verdict.FLOOD) == 1_100
    assert [in_time.audio(tick / 100) for tick in range(10_000)].index(Verdict.FLOOD) in range(2_700, 2_800)


def test_reports_of_a_stall_pass_and_a_flood_of_text_does_not() -> None:
    allowance = Allowance(0.0)

    assert {allowance.text(tick / 10) for tick in range(1_000)} == {Verdict.PASS}
    assert [allowance.text(120.0) for _ in range(251)].index(Verdict.FLOOD) == 250
    assert [allowance.text(130.0 + tick / 25) for tick in range(5_000)].count(Verdict.FLOOD) > 0
