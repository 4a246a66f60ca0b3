"""Port 443 for doorstep and back: LuCI is always reachable, and in the end everything is as it was."""

import pytest

from router import UHTTPD, make

TOOL = "/usr/libexec/doorstep/share-443"


def listens(router, port):
    return f":{port:04X} " in router.read("/proc/net/tcp")


@pytest.fixture
def luci(router):
    router.run("/etc/init.d/uhttpd", "restart")
    assert listens(router, 443) and listens(router, 80)
    return router


def https(router):
    return router.run("uci", "get", "uhttpd.main.listen_https").out.split()


def canonical(router, name):
    return router.run("uci", "export", name).out


def test_there_and_back(luci):
    uhttpd, door = canonical(luci, "uhttpd"), canonical(luci, "doorstep")
    done = luci.run(TOOL, "enable")
    assert done.status == 0, done
    assert https(luci) == ["0.0.0.0:8443", "[::]:8443"]
    assert not listens(luci, 443) and listens(luci, 8443) and listens(luci, 80)
    assert luci.run("uci", "get", "uhttpd.main.redirect_https").out == "0\n"
    assert "doorstep.share_443.port='443'" in luci.run("uci", "show", "doorstep").out
    assert "on:" in luci.run(TOOL, "status").out and "https://ROUTER:8443/" in luci.log()
    done = luci.run(TOOL, "disable")
    assert done.status == 0, done
    assert (canonical(luci, "doorstep") == door) and sorted(canonical(luci, "uhttpd").split()) == sorted(uhttpd.split())
    assert listens(luci, 443) and not luci.exists("/etc/doorstep/share-443.saved")
    assert "off:" in luci.run(TOOL, "status").out


def test_disabling_twice_is_fine(luci):
    before = canonical(luci, "uhttpd")
    assert luci.run(TOOL, "disable").status == 0
    assert canonical(luci, "uhttpd") == before and "nothing to put back" in luci.log()


def test_enabling_twice_keeps_what_was_there_first(luci):
    assert luci.run(TOOL, "enable").status == 0
    saved = luci.read("/etc/doorstep/share-443.saved")
    done = luci.run(TOOL, "enable", "9443")
    assert done.status == 1 and luci.read("/etc/doorstep/share-443.saved") == saved


def test_without_redirect_before_there_is_none_after(luci):
    luci.write("/etc/config/uhttpd", UHTTPD.replace("\toption redirect_https '1'\n", ""))
    assert luci.run(TOOL, "enable").status == 0
    assert luci.run(TOOL, "disable").status == 0
    assert luci.run("uci", "-q", "get", "uhttpd.main.redirect_https").status == 1


def test_an_own_listener_on_443_stays(luci):
    luci.write("/etc/config/doorstep", luci.read("/etc/config/doorstep") +
               "\nconfig listen 'web'\n\toption port '443'\n")
    assert luci.run(TOOL, "enable").status == 0
    assert "share_443" not in luci.run("uci", "show", "doorstep").out
    assert luci.run(TOOL, "disable").status == 0
    assert "take it out" in luci.log()


def test_an_https_listener_elsewhere_stays(luci):
    luci.write("/etc/config/uhttpd", UHTTPD.replace("'[::]:443'", "'192.168.1.1:4443'"))
    assert luci.run(TOOL, "enable").status == 0
    assert https(luci) == ["0.0.0.0:8443", "192.168.1.1:4443"]


def test_when_uhttpd_does_not_come_up_everything_is_put_back(luci):
    before = canonical(luci, "uhttpd").split()
    luci.write("/tmp/uhttpd-fails", "")
    done = luci.run(TOOL, "enable")
    assert done.status == 1 and "everything is as it was" in done.err
    assert sorted(canonical(luci, "uhttpd").split()) == sorted(before)
    assert luci.read("/tmp/uhttpd").splitlines()[-1] == "uhttpd restart"
    assert not luci.exists("/etc/doorstep/share-443.saved")
    assert "share_443" not in luci.run("uci", "show", "doorstep").out


@pytest.mark.parametrize("port", ["443", "80", "8448", "x", "84 43"])
def test_ports_that_will_not_do(luci, port):
    before = canonical(luci, "uhttpd")
    assert luci.run(TOOL, "enable", port).status == 1
    assert canonical(luci, "uhttpd") == before and not luci.exists("/etc/doorstep/share-443.saved")


def test_a_port_in_use(luci):
    luci.write("/proc/net/tcp", luci.read("/proc/net/tcp") + "   2: 00000000:20FB 00000000:0000 0A 0\n")
    done = luci.run(TOOL, "enable")
    assert done.status == 1 and "8443 is in use" in done.err


def test_443_of_somebody_else(luci):
    luci.write("/etc/config/uhttpd", UHTTPD.replace(":443'", ":4443'"))
    done = luci.run(TOOL, "enable")
    assert done.status == 1 and "not uhttpd's" in done.err


def test_help(luci):
    done = luci.run(TOOL)
    assert done.status == 2 and "enable [PORT] | disable | status" in done.err


def removal(router):

    router.write("/tmp/prerm", make("prerm"), 0o755)
    return router.run("/tmp/prerm")


def test_removal_gives_the_port_back(luci):
    luci.run(TOOL, "enable")
    assert removal(luci).status == 0
    assert listens(luci, 443) and sorted(https(luci)) == sorted(["0.0.0.0:443", "[::]:443"])


def test_an_upgrade_of_the_package_does_not(luci):

    luci.run(TOOL, "enable")
    luci.write("/tmp/prerm", make("prerm"), 0o755)
    assert luci.run("/tmp/prerm", PKG_UPGRADE="1").status == 0
    assert listens(luci, 8443) and not listens(luci, 443)
    assert luci.run("/tmp/prerm", IPKG_INSTROOT="/somewhere").status == 0
    assert listens(luci, 8443)
