"""New configurations while people talk."""

from .process import wait_until
from .traffic import read


def test_reload_between_messages(world, testraum, adam, egon):
    before = {domain: read(domain).counters["reloads"] for domain in world.domains}
    sent = []
    for number in range(10):
        for sender, reader in ((adam, egon), (egon, adam)):
            sent.append((reader, sender.say(testraum, f"reload {number}")))
        for domain in world.domains:
            domain.door.reload()
    for reader, event_id in sent:
        reader.wait_event(testraum, event_id)
    for domain in world.domains:
        wait_until(f"the reload of {domain.server_name}",
                   lambda d=domain: read(d).counters["reloads"] > before[d], 10)


def test_a_wrong_configuration_changes_nothing(home, testraum, adam, egon, out):
    with open(home.door.config, encoding="utf-8") as file:
        good = file.read()
    before = read(home).counters["reloads_refused"]
    try:
        with open(home.door.config, "w", encoding="utf-8") as file:
            file.write(good.replace("option dns ", "option dnss "))
        home.door.reload()
        wait_until("the refusal", lambda: read(home).counters["reloads_refused"] > before, 10)
    finally:
        with open(home.door.config, "w", encoding="utf-8") as file:
            file.write(good)
    with out():
        egon.wait_event(testraum, adam.say(testraum, "still here"))
