"""The homeserver was off while others wrote. With doorstep's keeping they never saw it, without they did."""

import os

import pytest

from ..traffic import read
from .conftest import RESULT
from .story import PLAIN, PROMISED, SECRET, TO_DEVICE


def test_both_worlds_began_alike(kept, lost):
    for story in (kept, lost):
        assert story.backoff_seen["before"] == {}


def test_the_sender_saw_no_outage(kept):
    """No back-off while it was off, and none afterwards."""
    assert kept.backoff_seen["asleep"] == {}
    assert kept.backoff_seen["after"] == {}
    assert not kept.ledger.unsent()


def test_without_keeping_the_sender_backs_off(lost):
    row = lost.backoff_seen["asleep"]
    assert row["retry_interval"] >= 600_000
    assert row["retry_last_ts"] >= lost.night.fell_asleep * 1000


def test_everything_is_there_in_time(kept):
    assert kept.delay is not None, f"not there: {kept.adam_has()}, {kept.adam_reads()}"
    assert kept.delay <= PROMISED


def test_messages_in_order(kept):
    assert kept.adam_has()["plain"] == kept.sent["plain"]
    assert len(kept.sent["plain"]) == PLAIN


def test_nothing_arrived_twice(kept):
    for events in kept.adam.timeline.values():
        seen = [event["event_id"] for event in events if "state_key" not in event]
        assert len(seen) == len(set(seen))


def test_to_device_messages_in_order_and_once(kept):
    assert kept.adam_has()["to_device"] == kept.sent["to_device"]
    assert len(kept.sent["to_device"]) == TO_DEVICE


def test_encrypted_messages_can_be_read(kept):
    """Keys that were made while the homeserver was off have arrived, too."""
    assert kept.adam_reads() == kept.sent["secret"]
    assert len(kept.sent["secret"]) == SECRET
    events = {event["event_id"]: event for event in kept.secret_adam.read(kept.secret_room)["events"]}
    sessions = [events[event_id]["session"] for event_id, _ in kept.sent["secret"]]
    assert len(set(sessions)) == 2, "two new room keys, both made meanwhile"
    assert all(events[event_id]["wire"] == "m.room.encrypted" for event_id, _ in kept.sent["secret"])


def test_the_receipt_arrived(kept):
    assert kept.adam_has()["receipts"] >= 1


def test_questions_did_no_harm(kept, lost):
    """Answered from what was known, or refused so that deliveries go on: see the first tests for that."""
    assert kept.profiles == ["Adam", "Adam"], "egon had looked before"
    assert "Adam" not in lost.profiles
    for story in (kept, lost):
        assert set(story.failures) == {"socialnetwork24.com"}, "as clients see a server out of reach"


def test_what_anybody_may_ask_is_answered(kept, lost):
    """By what the homeserver itself had said: keys that it signed, past answers with their age."""
    keys, age = kept.served["/_matrix/key/v2/server"]
    assert keys["server_name"] == "socialnetwork24.com" and keys["signatures"]["socialnetwork24.com"]
    assert int(age) >= 0
    assert kept.served["/_matrix/federation/v1/version"][0]["server"]["name"] == "Synapse"
    assert set(lost.served.values()) == {None}


def test_devices_are_answered_during_an_announced_sleep(kept):
    """The same as the homeserver said itself; of whom nobody asked before nothing is said."""
    nap = kept.napped
    [devices] = nap["awake"]["device_keys"].values()
    assert set(devices) == {nap["device"]} and nap["awake"]["failures"] == {}
    assert nap["asleep"] == nap["awake"]
    assert set(nap["stranger"]["failures"]) == {"socialnetwork24.com"} and not nap["stranger"]["device_keys"]
    assert nap["profile"] == "Adam"
    assert nap["backoff"] == {}


def test_answers_were_counted(kept):
    counted = read(kept.world.home).counters
    assert counted["answers_asleep"] >= 6, "two profiles, keys, version; devices and profile of the nap"
    assert counted["answers_fresh"] == 0, "Synapse says no-store"


def test_all_that_was_kept_was_handed_over_once(kept):
    """Nothing waits, and the homeserver refused nothing."""
    counted = kept.counted.counters
    assert counted["queue_delivered"] == counted["queue_accepted"] > 0
    assert counted["queue_parked"] == 0
    assert "queue_refused" not in kept.counted.failures()


def test_without_keeping_nothing_arrives(lost):
    """The sender waits, although the homeserver has answered for as long as the other world needed at most."""
    assert lost.delay is None
    assert lost.adam_has()["plain"] == [] and lost.adam_has()["to_device"] == []
    assert lost.backoff_seen["after"] == lost.backoff_seen["asleep"]
    assert lost.ledger.unsent()


def test_the_delays(kept, lost):
    """The second one is what the sender's own database says, not waited out; it looks once a minute after that."""
    row, retry_in = lost.ledger.backoff(), lost.retry_in()
    kept.say(f"the first message was there {kept.first:.1f} s after the first answer, everything after "
             f"{kept.delay:.1f} s")
    lost.say(f"retry_last_ts {row['retry_last_ts']}, retry_interval {row['retry_interval']}: "
             f"the next attempt is {retry_in:.1f} s after the first answer")
    assert retry_in > 10 * PROMISED > kept.delay
    os.makedirs(os.path.dirname(RESULT), exist_ok=True)
    with open(RESULT, "w", encoding="ascii") as out:
        out.write(f"delay with doorstep {kept.delay:.1f} s, without {retry_in:.1f} s\n")


@pytest.mark.last
def test_every_gauge_is_zero(kept, lost):
    for story in (kept, lost):
        story.idle()
        for domain in story.world.domains:
            assert read(domain).busy() == {}


@pytest.mark.last
def test_the_doors_end_cleanly(kept, lost):
    for story in (kept, lost):
        story.stop()
        assert story.world.statuses == {"socialnetwork24.com": 0, "tchncs.de": 0}
        for domain in story.world.domains:
            assert not domain.door.sanitizer_reports()
