"""The inbox: filled by other threads, emptied by capture, and never more than it may hold."""

import threading

from plexbridge.people.discord.inbox import NEWS_LIMIT, Connected, Datagram, Inbox, Left, Speaking


def test_what_was_put_in_comes_out_in_order_and_once_with_its_time_of_arrival() -> None:
    times = iter((1.0, 2.0))
    inbox = Inbox(lambda: next(times))
    inbox.offer(b"first")
    inbox.announce(Speaking(1, 2, is_speaking=True))
    inbox.offer(b"second")
    inbox.announce(Left(2))

    assert inbox.take() == (
        [Speaking(1, 2, is_speaking=True), Left(2)],
        [Datagram(b"first", 1.0), Datagram(b"second", 2.0)],
    )
    assert inbox.take() == ([], [])
    assert inbox.dropped == 0


def test_the_oldest_datagrams_give_way_and_are_counted() -> None:
    inbox = Inbox(lambda: 0.0, limit_datagrams=3)
    for number in range(5):
        inbox.offer(bytes([number]))

    _, datagrams = inbox.take()

    assert [datagram.data for datagram in datagrams] == [b"\x02", b"\x03", b"\x04"]
    assert inbox.dropped == 2


def test_a_flood_of_datagrams_costs_no_news() -> None:
    inbox = Inbox(lambda: 0.0, limit_datagrams=1)
    inbox.announce(Connected("mode", b"key"))
    for _ in range(10_000):
        inbox.offer(b"flood")

    assert inbox.take()[0] == [Connected("mode", b"key")]


def test_news_are_bounded_too() -> None:
    inbox = Inbox(lambda: 0.0)
    for number in range(NEWS_LIMIT + 5):
        inbox.announce(Left(number))

    news, _ = inbox.take()

    assert news == [Left(number) for number in range(5, NEWS_LIMIT + 5)]


def test_filling_from_another_thread_while_it_is_emptied_loses_nothing() -> None:
    inbox = Inbox(lambda: 0.0, limit_datagrams=100_000)
    count = 20_000

    def fill() -> None:
        for number in range(count):
            inbox.offer(number.to_bytes(4, "big"))

    thread = threading.Thread(target=fill)
    thread.start()
    taken: list[int] = []
    while len(taken) < count:
        taken += [int.from_bytes(datagram.data, "big") for datagram in inbox.take()[1]]
    thread.join()

    assert taken == list(range(count))
    assert inbox.dropped == 0


def test_a_datagram_that_has_waited_elsewhere_has_come_earlier_and_what_was_dropped_there_is_counted() -> None:
    inbox = Inbox(lambda: 10.0, limit_datagrams=1)
    inbox.offer(b"gives way")
    inbox.offer(b"waited", waited_seconds=0.5)
    inbox.overran(3)

    assert inbox.take()[1] == [Datagram(b"waited", 9.5)]
    assert inbox.dropped == 4
