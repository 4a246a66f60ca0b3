"""The init script under busybox's shell: what it hands over, what it tells procd, and what it says when it does not start."""

import os
import re
import signal
import socket
import subprocess

import pytest

from router import USER
from support.process import clean_env, wait_until
from support.world import claim_network

SECRET = "correct-horse-battery-staple"
MAIN = """
config doorstep 'main'
	option enabled '1'
	option control '/var/run/doorstep/control.sock'
	option log_level 'debug'
	option memory_class '64'
	option dns '127.0.0.1:53'
{main}
config domain 'home'
	option server_name 'example.org'
	option homeserver 'nas'
	{certificate_word} certificate '{certificate}'
	list key '/etc/ssl/acme/example.org.key'

config homeserver 'nas'
	option url 'http://192.168.1.20:8008'
{homeserver}
config listen 'federation'
	option address '{address}'
	option port '{port}'

config outbound 'lan'
	option listen '{address}:8009'
	option homeserver 'nas'
	option secret_file '/etc/doorstep/outbound.secret'
{more}
"""


def config(**values):
    return MAIN.format(**{"main": "", "homeserver": "", "more": "", "address": "127.0.0.1", "port": "8448",
                          "certificate": "/etc/ssl/acme/example.org.fullchain.crt", "certificate_word": "list", **values})


@pytest.fixture
def home(router, authority):
    """A router with everything that a door needs."""
    issue(router, authority)
    router.write("/etc/doorstep/outbound.secret", SECRET + "\n", 0o600)
    router.write("/etc/ssl/certs/ca-certificates.crt", open(authority.file, encoding="ascii").read())
    router.write("/etc/config/doorstep", config(), 0o600)
    return router


def issue(router, authority):
    certificate = authority.issue("example.org")
    for source, name in ((certificate.chain, "fullchain.crt"), (certificate.key, "key")):
        router.write(f"/etc/acme/example.org_ecc/{name}", open(source, encoding="ascii").read(), 0o600)
        link = router.path("etc/ssl/acme", f"example.org.{name}")
        if not os.path.islink(link):
            os.symlink(f"/etc/acme/example.org_ecc/{name}", link)


def not_started(router, *words):
    """Nothing runs, one line says why, and the triggers are there all the same."""
    assert not router.calls("procd_open_instance"), router.calls()
    assert ["doorstep"] in router.calls("procd_add_reload_trigger")
    lines = router.log().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0]


# ---- three states ----

def test_as_shipped_it_is_disabled(router):
    done = router.service("start")
    not_started(router, "daemon.notice", "disabled")
    assert "disabled" in done.err


def test_without_configuration(home):
    os.remove(home.path("etc/config/doorstep"))
    home.service("start")
    not_started(home, "daemon.err", "missing")


@pytest.mark.parametrize("text, words", [
    ("config doorstep 'main\n", ["broken", "Parse error"]),
    (config(main="\toption enabld '1'\n"), ["broken", "enabld", "/etc/config/doorstep"]),
    (config(port="99999"), ["broken", "99999"]),
    (config(homeserver="\toption sleeps '1'\n\toption queue_limit '8'\n"), ["broken", "queue_limit"]),
])
def test_a_broken_configuration(home, text, words):
    home.write("/etc/config/doorstep", text, 0o600)
    home.service("start")
    not_started(home, "daemon.err", *words)


def test_before_the_certificate_was_issued(home):
    os.remove(home.path("etc/ssl/acme/example.org.key"))
    home.service("start")
    not_started(home, "daemon.err", "/etc/ssl/acme/example.org.key", "issued")
    assert home.names("/var/run/doorstep/service/credentials") == []


def test_a_certificate_that_does_not_fit_its_key(home, authority):
    other = authority.issue("other.example")
    home.write("/etc/acme/example.org_ecc/key", open(other.key, encoding="ascii").read(), 0o600)
    home.service("start")
    not_started(home, "daemon.err", "broken")


def test_two_files_of_one_name(home):
    home.write("/etc/other/example.org.key", "something else\n", 0o600)
    home.write("/etc/config/doorstep", config(more="\nconfig domain 'second'\n\toption server_name 'example.net'\n"
               "\tlist certificate '/etc/ssl/acme/example.org.fullchain.crt'\n"
               "\tlist key '/etc/other/example.org.key'\n"), 0o600)
    home.service("start")
    not_started(home, "two different files are called example.org.key")


# ---- hand-over ----

def test_what_is_handed_over(home):
    home.service("start")
    assert home.rights("/var/run/doorstep") == "1770 root doorstep"
    assert home.rights("/var/run/doorstep/service") == "0750 root doorstep"
    assert home.rights("/var/run/doorstep/service/config") == "0640 root doorstep"
    assert home.rights("/var/run/doorstep/service/credentials") == "0750 root doorstep"
    names = ["example.org.fullchain.crt", "example.org.key", "outbound.secret"]
    assert home.names("/var/run/doorstep/service/credentials") == names
    for name in names:
        path = f"/var/run/doorstep/service/credentials/{name}"
        assert home.rights(path) == "0640 root doorstep"
        assert not os.path.islink(home.path(path))
    assert home.read("/var/run/doorstep/service/config") == home.run("uci", "export", "doorstep").out


def test_secrets_are_nowhere_else(home):
    done = home.service("start")
    key = home.read("/etc/acme/example.org_ecc/key").splitlines()[1]
    for text in (SECRET, key):
        run = subprocess.run(["grep", "-rlF", text, home.root], capture_output=True, text=True, check=False)
        found = sorted(path[len(home.root):] for path in run.stdout.split())
        assert len(found) == 2 and found[1].startswith("/tmp/run/doorstep/service/credentials/"), found
        assert text not in done.out + done.err + home.log()


def test_nothing_of_roots_can_be_exchanged_by_the_process(home):
    home.service("start")
    run = "/var/run/doorstep"
    for command in (f"mv {run}/service {run}/elsewhere", f"rm -rf {run}/service", f"echo x >{run}/service/config",
                    f"ln -s /etc/passwd {run}/service/config.new", f"echo x >{run}/service/credentials/outbound.secret"):
        assert home.run_as_user("sh", "-c", command).status != 0, command
    done = home.run_as_user("sh", "-c", f"touch {run}/control.sock && cat {run}/service/config {run}/service/credentials/*")
    assert done.status == 0, done


def stamps(router):
    folder = router.path("/var/run/doorstep/service/credentials")
    return {name: (os.stat(os.path.join(folder, name)).st_ino, os.stat(os.path.join(folder, name)).st_mtime_ns)
            for name in os.listdir(folder)}


def test_starting_twice_changes_nothing(home):
    home.service("start")
    calls, before = home.calls(), stamps(home)
    home.service("start")
    assert home.calls() == calls
    assert stamps(home) == before
    assert home.names("/var/run/doorstep/service") == ["config", "credentials", "needs", "shape"]


def test_a_single_option_where_a_list_is_expected(home):
    home.write("/etc/config/doorstep", config(certificate_word="option").replace("enabled '1'", "enabled 'on'"), 0o600)
    home.service("start")
    assert home.calls("procd_open_instance"), home.log()


# ---- what procd is told ----

def test_without_ujail_it_gives_up_root_itself(home):
    home.service("start")
    params = home.params()
    assert params["command"] == ["/usr/sbin/doorstep", "serve", "--config", "/var/run/doorstep/service/config",
                                 "--credentials", "/var/run/doorstep/service/credentials", "--syslog",
                                 "--user", "doorstep"]
    assert params["respawn"] == ["3600", "5", "0"]
    assert params["limits"] == ["nofile=4096 4096"]
    assert "user" not in params and not home.calls("procd_add_jail")


def with_ujail(router):
    router.write("/sbin/ujail", "#!/bin/sh\n", 0o755)


def test_with_ujail_it_is_never_root(home):
    with_ujail(home)
    home.write("/etc/config/doorstep", config(main="\toption state_dir '/srv/doorstep'\n"), 0o600)
    home.service("start")
    params = home.params()
    assert "--user" not in params["command"]
    assert params["user"] == params["group"] == ["doorstep"]
    assert params["capabilities"] == ["/etc/capabilities/doorstep.json"] and params["no_new_privs"] == ["1"]
    assert home.calls("procd_add_jail") == [["doorstep", "log", "procfs"]]
    assert ["/etc/ssl/certs"] in home.calls("procd_add_jail_mount")
    assert home.calls("procd_add_jail_mount_rw") == [["/var/run/doorstep"], ["/srv/doorstep"]]
    for (folder,) in home.calls("procd_add_jail_mount") + home.calls("procd_add_jail_mount_rw"):
        assert os.path.isdir(home.path(folder)) or folder.startswith("/var/run/"), folder


def test_the_jail_has_the_resolver_of_the_router(home):
    """Unless one is given; mounted as it is now, so another one is another shape."""
    with_ujail(home)
    home.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    home.service("start")
    assert ["/etc/resolv.conf"] not in home.calls("procd_add_jail_mount")
    home.write("/etc/config/doorstep", config().replace("\toption dns '127.0.0.1:53'\n", ""), 0o600)
    home.service("reload")
    assert ["/etc/resolv.conf"] in home.calls("procd_add_jail_mount")
    home.service("reload")
    assert home.calls() == [["procd_send_signal", "doorstep", "*", "HUP"]]
    home.write("/etc/resolv.conf", "nameserver 192.0.2.53\n")
    home.service("reload")
    assert home.calls("procd_open_instance")


def test_without_a_jail_if_so_wished(home):
    with_ujail(home)
    home.write("/etc/config/doorstep", config(more="\nconfig openwrt 'openwrt'\n\toption jail '0'\n"), 0o600)
    home.service("start")
    assert home.params()["command"][-2:] == ["--user", "doorstep"] and not home.calls("procd_add_jail")


def test_the_firewall_is_left_alone(home):
    home.service("start")
    assert not [words for words in home.calls("json_add_string") if words[0] == "dest_port"]


def test_the_firewall_is_opened_when_asked_for(home):
    home.write("/etc/config/doorstep", config(more="\nconfig listen 'web'\n\toption port '443'\n"
               "\nconfig openwrt 'openwrt'\n\toption open_firewall '1'\n"), 0o600)
    home.service("start")
    texts = home.calls("json_add_string")
    assert [words[1] for words in texts if words[0] == "dest_port"] == ["8448", "443"]
    assert [words[1] for words in texts if words[0] == "src"] == ["wan", "wan"]
    names = [words[0] for words in home.calls()]
    assert names.index("procd_open_data") < names.index("json_add_array") < names.index("procd_close_data") < \
        names.index("procd_close_instance")
    assert home.calls("procd_set_config_changed") == [["firewall"]]


def test_triggers(home):
    home.write("/etc/config/doorstep", config(main="\toption state_dir '/mnt/usb/doorstep'\n"
               , more="\nconfig openwrt 'openwrt'\n\tlist interface 'wwan'\n\tlist interface 'lan'\n"), 0o600)
    home.write("/proc/mounts", "overlayfs:/overlay / overlay rw 0 0\n/dev/sda1 /mnt/usb ext4 rw 0 0\n")
    home.service("start")
    assert home.calls("procd_add_reload_trigger") == [["doorstep"]]
    raw = home.calls("procd_add_raw_trigger")
    assert [words[0] for words in raw] == ["acme.issue", "acme.renew"]
    assert all(words[2:] == ["/etc/init.d/doorstep", "reload"] for words in raw)
    assert home.calls("procd_add_reload_interface_trigger") == [["wwan"], ["lan"]]
    assert home.calls("procd_add_reload_mount_trigger") == [["/mnt/usb/doorstep"]]


# ---- reload ----

def test_reload_of_what_needs_no_restart(home, authority):
    home.service("start")
    before = stamps(home)
    issue(home, authority)
    done = home.service("reload")
    assert done.status == 0, done
    assert home.calls() == [["procd_send_signal", "doorstep", "*", "HUP"]]
    after = stamps(home)
    assert after["outbound.secret"] == before["outbound.secret"]
    assert after["example.org.key"] != before["example.org.key"]
    assert home.read("/var/run/doorstep/service/credentials/example.org.key") == home.read("/etc/acme/example.org_ecc/key")
    assert home.rights("/var/run/doorstep/service/credentials/example.org.key") == "0640 root doorstep"


def test_reload_of_another_shape(home):
    home.service("start")
    home.write("/etc/config/doorstep", config(port="8449"), 0o600)
    home.service("reload")
    assert home.calls("procd_open_instance") and not home.calls("procd_send_signal")
    assert home.params()["file"][0] == "/var/run/doorstep/service/shape"
    assert "port 8449" in home.read("/var/run/doorstep/service/shape")


@pytest.mark.parametrize("text", ["config doorstep 'main\n", config(port="0"), config(certificate="/etc/ssl/acme/absent.crt")])
def test_reload_of_a_broken_configuration_changes_nothing(home, text):
    home.service("start")
    before, was = stamps(home), home.read("/var/run/doorstep/service/config")
    home.write("/etc/config/doorstep", text, 0o600)
    done = home.service("reload")
    assert done.status != 0 and not home.calls("procd_open_instance") and not home.calls("procd_send_signal")
    assert home.calls("procd_close_service") == [["add"]]
    assert stamps(home) == before and home.read("/var/run/doorstep/service/config") == was
    assert "daemon.err" in home.log()
    # and when it is right again, it goes on
    home.write("/etc/config/doorstep", config(), 0o600)
    home.service("reload")
    assert home.calls() == [["procd_send_signal", "doorstep", "*", "HUP"]]


def test_another_version_is_another_process(home):
    """apk runs no script before an upgrade, and procd keeps what it has been told of already."""
    home.service("start")
    assert home.params()["file"] == ["/var/run/doorstep/service/shape", "/usr/sbin/doorstep"]


def test_reload_of_a_disabled_configuration_ends_the_process(home):
    """By a service without instances: killing it would take the triggers, and who enables it again would wait."""
    home.service("start")
    home.write("/etc/config/doorstep", config().replace("enabled '1'", "enabled 'off'"), 0o600)
    home.service("reload")
    assert not home.calls("procd_open_instance") and not home.calls("procd_kill")
    assert home.calls("procd_close_service") == [["set"]] and home.calls("procd_add_reload_trigger") == [["doorstep"]]
    assert home.log().count("disabled") == 1
    assert "credentials" not in home.names("/var/run/doorstep/service")
    home.write("/etc/config/doorstep", config(), 0o600)
    home.service("reload")
    assert home.calls("procd_open_instance")


def test_keys_are_gone_after_the_end(home):
    home.service("start")
    home.service("stop")
    assert home.names("/var/run/doorstep/service") == []
    home.service("restart")
    assert home.calls("procd_open_instance") and home.exists("/var/run/doorstep/service/credentials/example.org.key")


def test_reload_starts_what_could_not_start(home, authority):
    """So the first certificate, a disk that is mounted late, or a corrected mistake are enough."""
    os.remove(home.path("etc/acme/example.org_ecc/key"))
    home.service("start")
    assert not home.calls("procd_open_instance")
    issue(home, authority)
    home.service("reload")
    assert home.calls("procd_open_instance"), home.log()


def test_what_is_no_longer_needed_is_taken_back(home):
    home.service("start")
    home.write("/etc/config/doorstep", config().split("config outbound")[0], 0o600)
    home.service("reload")
    assert home.names("/var/run/doorstep/service/credentials") == ["example.org.fullchain.crt", "example.org.key"]


def test_check_reads_what_the_owner_wrote(home):
    """Not what runs, which is older as long as the file is broken."""
    home.service("start")
    home.write("/etc/config/doorstep", config(main="\toption enabld '1'\n"), 0o600)
    done = home.run("/etc/init.d/doorstep", "check")
    assert done.status == 1
    assert re.search(r"^problem +configuration +.*/etc/config/doorstep.*enabld", done.out, re.M), done


# ---- state_dir ----

def test_state_dir_is_made_and_handed_over(home):
    home.write("/etc/config/doorstep", config(main="\toption state_dir '/srv/doorstep'\n"), 0o600)
    os.makedirs(home.path("srv/doorstep/queue"))
    os.chown(home.path("srv/doorstep/queue"), 4711, 4711)  # before the upgrade the user had another number
    home.service("start")
    assert home.rights("/srv/doorstep") == "0700 doorstep doorstep"
    assert home.rights("/srv/doorstep/queue").endswith("doorstep doorstep")


def test_a_folder_of_others_is_not_taken(home):
    home.write("/etc/config/doorstep", config(main="\toption state_dir '/srv'\n"), 0o600)
    home.write("/srv/photos/cat.jpg", "meow")
    home.service("start")
    not_started(home, "/srv holds other things")
    assert home.rights("/srv/photos/cat.jpg") == "0644 root root"


def test_a_disk_that_is_not_there_yet(home):
    home.write("/etc/config/doorstep", config(main="\toption state_dir '/mnt/usb/doorstep'\n"), 0o600)
    home.service("start")
    assert not home.calls("procd_open_instance") and "not mounted" in home.log()
    assert not home.exists("/mnt/usb/doorstep")
    home.write("/proc/mounts", "overlayfs:/overlay / overlay rw 0 0\n/dev/sda1 /mnt/usb ext4 rw 0 0\n")
    home.service("reload")
    assert home.calls("procd_open_instance"), home.log()


def test_a_disk_for_what_runs_already(home):
    """Nothing changes for the process, not even what it reads when it is started anew; its arrival is waited for."""
    home.service("start")
    before = home.read("/var/run/doorstep/service/config")
    home.write("/etc/config/doorstep", config(main="\toption state_dir '/mnt/usb/doorstep'\n"), 0o600)
    assert home.service("reload").status != 0 and "not mounted" in home.log()
    assert home.read("/var/run/doorstep/service/config") == before
    assert not home.calls("procd_open_instance") and home.calls("procd_close_service") == [["add"]]
    assert home.calls("procd_add_reload_mount_trigger") == [["/mnt/usb/doorstep"]]
    home.write("/proc/mounts", "overlayfs:/overlay / overlay rw 0 0\n/dev/sda1 /mnt/usb ext4 rw 0 0\n")
    home.service("reload")
    assert home.calls("procd_open_instance"), home.log()


# ---- the process itself ----

@pytest.fixture
def network():
    prefix, lock = claim_network("127.41")
    with lock:
        yield prefix


@pytest.fixture
def running(home, network):
    """The process as procd would start it, on a port below 1024."""
    home.write("/etc/config/doorstep", config(address=f"{network}.1", port="443",
                                              main="\toption state_dir '/srv/doorstep'\n"), 0o600)
    home.service("start")
    log = open(home.path("tmp/log.process"), "wb")
    command = [word for word in home.params()["command"] if word != "--syslog"]
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *home.argv(*command)], stdout=log, stderr=log,
                             env=clean_env())
    wait_until("doorstep to answer", lambda: home.run("doorstep", "status").status == 0)
    yield home, child
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    log.close()


def process_status(child):
    with open(f"/proc/{child.pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def test_the_process_has_a_low_port_and_no_privileges(running, network):
    router, child = running
    status = process_status(child)
    assert status["Uid"].split() == status["Gid"].split() == [str(USER)] * 4
    assert status["Groups"].strip() in ("", str(USER))
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapInh"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert f"{network}.1:443" in router.run("doorstep", "status").out
    for name in os.listdir(router.path("srv/doorstep")):
        assert router.rights(f"/srv/doorstep/{name}").endswith("doorstep doorstep")


def process_log(router):
    return router.read("/tmp/log.process")


def test_the_process_takes_a_renewed_certificate_over(running, authority):
    router, child = running
    issue(router, authority)
    assert router.service("reload").status == 0
    assert router.calls() == [["procd_send_signal", "doorstep", "*", "HUP"]]
    child.send_signal(signal.SIGHUP)
    wait_until("reload", lambda: "taken over" in process_log(router))


def test_the_process_cannot_open_another_low_port(running, network):
    router, child = running
    path = router.path("tmp/run/doorstep/service/config")
    text = open(path, encoding="utf-8").read()
    with open(path, "w", encoding="utf-8") as out:
        out.write(text + f"\nconfig listen 'more'\n\toption address '{network}.1'\n\toption port '80'\n")
    child.send_signal(signal.SIGHUP)
    wait_until("refusal", lambda: "restart doorstep" in process_log(router))
    assert router.run("doorstep", "status").status == 0


def test_the_log_has_levels(home, network):
    """syslog(3) in a jail or not: /dev/log. Facility daemon is 3; err, warning, info are 3, 4, 6."""
    home.write("/etc/config/doorstep", config(address=f"{network}.2"), 0o600)
    home.service("start")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(home.path("/dev/log"))
        os.chmod(home.path("/dev/log"), 0o666)
        log.settimeout(20)
        child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *home.argv(*home.params()["command"])],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_env())
        lines = []
        while not lines or "serve.ready" not in lines[-1]:
            lines.append(log.recv(4096).decode())
        home.write("/var/run/doorstep/service/config", "config doorstep 'main'\n\toption enabld '1'\n")
        child.send_signal(signal.SIGHUP)
        while "serve.reload" not in lines[-1]:
            lines.append(log.recv(4096).decode())
        child.send_signal(signal.SIGTERM)
        assert child.communicate(timeout=20)[1] == b"" and child.returncode == 0
    ready = next(line for line in lines if "serve.ready" in line)
    assert re.match(r"<30>.*doorstep\[\d+\]: serve\.ready: ", ready), ready
    mistakes = [line for line in lines if "enabld" in line]
    assert len(mistakes) == 1 and re.match(r"<27>.*: serve\.config: .*:2:", mistakes[0]), lines
    assert not any("\n" in line.rstrip("\0") for line in lines)


# ---- once, and by hooks ----

def test_first_boot_makes_a_secret_and_keeps_it(router):
    assert not router.exists("/etc/doorstep/outbound.secret")
    assert router.run("/etc/uci-defaults/90-doorstep").status == 0
    secret = router.read("/etc/doorstep/outbound.secret")
    assert len(secret) == 49 and int(secret, 16)
    assert router.rights("/etc/doorstep/outbound.secret") == "0600 root root"
    assert router.run("/etc/uci-defaults/90-doorstep").status == 0
    assert router.read("/etc/doorstep/outbound.secret") == secret
    assert router.names("/etc/doorstep") == ["outbound.secret"]


@pytest.mark.parametrize("action, domain, said", [
    ("renew-failed", "example.org", True), ("issue-failed", "example.org", True), ("renewed", "example.org", False),
    ("renew-failed", "example.net", False)])
def test_failed_renewals_are_said(home, action, domain, said):
    done = home.run("sh", "/etc/hotplug.d/acme/50-doorstep", ACTION=action, main_domain=domain)
    assert done.status == 0
    assert ("daemon.err" in home.log()) == said


def test_a_clock_that_jumps(home):
    home.service("start")
    os.remove(home.path("tmp/procd"))
    assert home.run("sh", "/etc/hotplug.d/ntp/50-doorstep", ACTION="stratum").status == 0
    assert home.calls() == []
    assert home.run("sh", "/etc/hotplug.d/ntp/50-doorstep", ACTION="step").status == 0
    assert home.calls("procd_send_signal") == [["doorstep", "*", "HUP"]]
