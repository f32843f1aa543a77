"""Who may see the pages of `lycb serve`, and who may change something."""

import re
import resource
import subprocess
import sys
import time

import pytest
from messages import assert_one_line
from pages import Served, assert_no_inline, read_stream
from places import CAMPAIGNS
from servers import free_port, spawn
from waiting import wait_until

from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.errors import InputError
from lycb_flows.schemas import CampaignRecord, Structure
from lycb_flows.schemas.keys import digest
from lycb_flows.serve import MAX_STREAMS, Access, remove_token, write_token
from lycb_flows.store import open_store

HOSTILE = '<script>alert("x")</script> {{ 7*7 }} \n"lycb_jobs 9'
LATTICE = ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 4.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with a campaign that has begun, and what a colleague with MongoDB's shell may add."""
    path = tmp_path_factory.mktemp("served")
    with open_store(path) as store:
        submission = submit(store, read_campaign(CAMPAIGNS / "loop.yaml"))
        record = submission.record
        hostile = record.model_copy(update={"key": digest(["hostile"]), "name": HOSTILE})
        broken = record.model_copy(
            update={"key": digest(["broken"]), "name": "broken", "resolved": '{"name": "<b>"}'}
        )
        species = ("Li", '<img src=x onerror="alert(1)">', "Br")
        structure = Structure(
            key=digest(["structure"]),
            lattice_ang=LATTICE,
            species=species,
            frac_coords=((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.0, 0.0)),
        )
        store.insert_all([hostile, broken, structure])
    return path


@pytest.fixture(scope="module")
def served(folder):
    with Served(folder, with_levers=True) as server:
        yield server


@pytest.fixture(scope="module")
def key(folder):
    with open_store(folder) as store:
        (record,) = store.find_all(CampaignRecord, name="loop")
        return record.key


@pytest.fixture(scope="module")
def addresses(key):
    """Every address that shows something."""
    return (
        "/", f"/campaigns/{key}", f"/campaigns/{key}/report", f"/figures/{key}/01.png",
        f"/view/{digest(['structure'])}", f"/frames/{digest(['structure'])}.xyz", "/metrics",
        "/events", "/static/serve.js", "/static/3Dmol-min.js", "/nothing",
    )  # fmt: skip


# -- reading ------------


def test_a_foreign_host_is_refused(served):
    for host in ("evil.example", f"evil.example:{served.options.port}", "127.0.0.1.evil.example"):
        status, _, body = served.ask("/", served.cookie | {"Host": host})
        assert status == 421, host
        assert b"loop" not in body
    for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000"):  # a tunnel has its own port
        assert served.ask("/", served.cookie | {"Host": host})[0] == 200, host


def test_an_address_beyond_the_loopback_is_known_by_its_names_only(folder):
    with Served(folder, names=("node7.example",)) as server:
        assert server.ask("/", server.cookie | {"Host": "node7.example:1"})[0] == 200
        assert server.ask("/", server.cookie | {"Host": "node8.example:1"})[0] == 421


def test_nothing_is_shown_without_the_token(served, addresses):
    old, same_length = Access(), "0" * 64
    for headers in (
        {},
        {"Cookie": f"lycb_session={same_length}"},
        {"Cookie": f"lycb_session={old.session}"},  # of an earlier start
        {"Cookie": f"lycb_session={served.access.token}"},
        {"Cookie": f"lycb_session={served.access.change_token}"},
        {"Authorization": f"Bearer {old.token}"},
        {"Authorization": f"Bearer {served.access.session}"},
        {"Authorization": f"Basic {served.access.token}"},
        {"Authorization": "Bearer "},
    ):
        for address in addresses:
            status, _, body = served.ask(address, headers)
            assert status == 401, (address, headers)
            assert body.startswith(b"lycb: no access")
            assert body.count(b"\n") == 1


def test_the_token_opens_everything_as_a_header_too(served):
    headers = {"Authorization": f"Bearer {served.access.token}"}
    assert served.ask("/metrics", headers)[0] == 200
    assert served.ask("/", headers)[0] == 200


def test_a_browser_without_a_cookie_is_sent_to_the_log_in(served):
    status, headers, _ = served.ask("/", {"Accept": "text/html"})
    assert (status, headers["location"]) == (303, "/login")
    assert served.ask("/login", {})[0] == 200


def test_the_code_of_the_link_works_once_and_seeing_it_does_not_use_it(folder):
    with Served(folder) as server:
        code, origin = server.access.code, {"Origin": server.origin}
        form = {"secret": code}
        for _ in range(2):  # a preview of the link
            page = server.ask(f"/login?code={code}", {})[2].decode()
            assert code in page
        assert server.ask("/login", {}, method="POST", form=form)[0] == 403  # no Origin
        foreign = {"Origin": "http://evil.example"}
        assert server.ask("/login", foreign, method="POST", form=form)[0] == 403
        status, headers, _ = server.ask("/login", origin, method="POST", form=form)
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert server.access.session in cookie
        assert server.access.token not in cookie
        assert server.ask("/", {"Cookie": cookie.partition(";")[0]})[0] == 200
        status, headers, _ = server.ask("/login", origin, method="POST", form=form)
        assert status == 403
        assert "set-cookie" not in headers
        token = {"secret": server.access.token}
        assert server.ask("/login", origin, method="POST", form=token)[0] == 303


def test_secrets_have_256_bits_and_are_of_one_start():
    one, other = Access(), Access()
    assert len(bytes.fromhex(one.token)) == len(bytes.fromhex(one.session)) == 32
    assert len(one.code) >= 43  # 32 bytes in base64
    secrets = {getattr(a, n) for a in (one, other) for n in ("token", "session", "change_token")}
    assert len(secrets | {one.code, other.code}) == 8
    assert one.token not in repr(one)


def test_every_answer_has_the_headers_of_security_and_allows_no_other_origin(served, addresses):
    for address in (*addresses[:-4], "/static/serve.js", "/nothing", "/login"):
        _, headers, _ = served.ask(address, served.cookie | {"Origin": "http://evil.example"})
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.lower().startswith("access-control")]


# -- changing -----------


def test_a_change_needs_the_cookie_the_origin_and_the_token_in_a_header(served, key, folder):
    path, right = f"/campaigns/{key}/levers/stop-after", served.lever_headers
    with open_store(folder) as store:
        before = store.note(f"levers {key}")  # other tests of this file may have asked
    for name, value in (
        ("Cookie", ""),
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", f"https://{served.host}"),
        ("Origin", "http://127.0.0.1:1"),  # another user's server of the same machine
        ("X-Lycb-Token", ""),
        ("X-Lycb-Token", served.access.session),
        ("X-Lycb-Token", Access().change_token),
    ):
        status, text = served.pull(path, right | {name: value})
        assert status in {401, 403}, (name, value, text)
    for name in right:
        status, _ = served.pull(path, {k: v for k, v in right.items() if k != name})
        assert status in {401, 403}, name
    with open_store(folder) as store:
        assert store.note(f"levers {key}") == before
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert served.ask(path, right, method=method)[0] == 405
    status, text = served.pull(path)
    assert (status, text) == (200, "loop: it stops after round 0 and measures\n")
    with open_store(folder) as store:
        assert store.note(f"levers {key}")["stop_after"] == 0
    assert any("stop-after loop: it stops after round 0" in line for line in served.said)
    wait_until(lambda: "stop after round 0" in served.page(f"/campaigns/{key}"), "the note")


def test_without_levers_nothing_changes_even_with_every_token(folder, key):
    with Served(folder) as server:
        path = f"/campaigns/{key}/levers/extend"
        status, text = server.pull(path)
        assert (status, "--levers" in text) == (403, True)
        page = server.page(f"/campaigns/{key}")
        assert "data-lever" not in page
        assert "lycb-token" not in page


def test_a_lever_of_the_launchpad_is_refused_for_a_folder_in_one_line(served, key):
    for name in ("pause", "resume", "cancel", "relabel", "retry"):
        status, text = served.pull(f"/campaigns/{key}/levers/{name}")
        assert (status, text.count("\n")) == (409, 1)
        assert f"`lycb {name}`" in text
    assert served.pull(f"/campaigns/{key}/levers/explode")[0] == 409
    assert served.pull(f"/campaigns/{'0' * 64}/levers/extend")[0] == 404


def test_getting_changes_nothing(folder, key, addresses, tmp_path):
    copy = tmp_path / "copy"
    # by another process: a file of sqlite's that is closed takes this process's locks with it
    subprocess.run(["/bin/cp", "-r", folder, copy], check=True)
    with Served(copy, with_levers=True) as server:
        server.page("/")
        before = content_of(copy)
        for address in (*addresses, "/login", "/login?code=1", f"/campaigns/{key}/levers/extend"):
            server.ask(address, method="HEAD")
            if address != "/events":
                server.ask(address)
        assert server.ask(f"/campaigns/{key}/levers/extend")[0] == 405
        assert content_of(copy) == before
        assert server.access.code


def content_of(folder):
    with open_store(folder) as store:
        dump = "\n".join(store._db.iterdump())
    return dump, sorted(str(path) for path in (folder / "blobs").rglob("*"))


def test_the_connection_of_the_pages_cannot_write(folder):
    with open_store(folder) as store:
        store.refuse_writes()
        with pytest.raises(Exception, match="readonly"):
            store.set_note("levers", {})


# -- what leaks, and what is hostile


def test_hostile_names_are_text_in_pages_metrics_and_viewer(served):
    hostile = digest(["hostile"])
    for path in ("/", f"/campaigns/{hostile}", f"/campaigns/{hostile}/report"):
        page = served.page(path)
        assert "alert(" in page
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert " 49 " not in page
        assert_no_inline(page)
    assert "<img" not in served.page(f"/view/{digest(['structure'])}")
    frames = served.page(f"/frames/{digest(['structure'])}.xyz")
    assert [line.split()[0] for line in frames.splitlines()[2:]] == ["Li", "im", "Br"]
    assert "onerror" not in frames
    metrics = served.page("/metrics")
    assert '\\n\\"lycb_jobs 9' in metrics or "lycb_jobs 9" not in metrics
    for line in metrics.splitlines():
        assert re.fullmatch(r'# .*|lycb_\w+(\{(\w+="([^"\\]|\\.)*",?)+\})? [-0-9.e+]+', line), line


def test_a_campaign_that_cannot_be_read_says_so_and_spoils_no_other(served):
    page = served.page(f"/campaigns/{digest(['broken'])}")
    assert "unreadable" in page
    assert 'class="trouble"' in page
    assert "unreadable" not in served.page("/").partition("broken")[0].rpartition('"card"')[0]


def test_what_is_not_there_is_a_line(served, key):
    for path, status in (
        ("/campaigns/0123456789ab", 404), ("/campaigns/..%2F..%2Fetc%2Fpasswd", 404),
        (f"/figures/{key}/99.png", 404), (f"/frames/{'a' * 64}.xyz", 409),
        ("/static/..%2Fserver.py", 404), ("/static/nothing.js", 404),
    ):  # fmt: skip
        found, _, body = served.ask(path)
        assert (found, body.count(b"\n")) == (status, 1), (path, found, body)
        assert body.startswith(b"lycb: ")
    big = {"secret": "x" * 10_000}
    assert served.ask("/login", {"Origin": served.origin}, method="POST", form=big)[0] == 413


def test_the_secrets_are_in_no_log_metric_or_event_stream(folder, key, capfd):
    with Served(folder, with_levers=True) as server:
        secrets = [server.access.token, server.access.session, server.access.change_token]
        code = server.access.code
        server.ask(f"/login?code={code}", {})
        form = {"secret": code}
        server.ask("/login", {"Origin": server.origin}, method="POST", form=form)
        link, status = server.stream()
        assert status == 200
        server.pull(f"/campaigns/{key}/levers/extend")
        told = read_stream(link, 2.5) + server.page("/metrics") + "\n".join(server.said)
        link.close()
        assert "event: look" in told
        shown = server.page(f"/campaigns/{key}")
        public = b"".join(server.ask(path, {})[2] for path in ("/login", "/static/serve.css"))
    out, err = capfd.readouterr()
    for secret in (*secrets, code):
        assert secret not in told + out + err
    assert not any(secret.encode() in public for secret in secrets)
    assert secrets[2] in shown  # for the script's header; it opens no page
    assert secrets[0] not in shown
    assert secrets[1] not in shown


# -- the file of the token


def test_the_file_of_the_token_is_its_owners_alone_whatever_was_there(tmp_path):
    path, other = tmp_path / "token", tmp_path / "other"
    other.write_text("mine")
    path.symlink_to(other)  # what another user may have put there
    write_token(path, "secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.is_symlink()
    assert other.read_text() == "mine"
    path.chmod(0o644)
    write_token(path, "secret 2")
    assert path.stat().st_mode & 0o777 == 0o600
    remove_token(path, "secret")  # of an earlier start
    assert path.exists()
    remove_token(path, "secret 2")
    assert not path.exists()
    with pytest.raises(InputError, match="cannot write the file of the token"):
        write_token(tmp_path / "nowhere" / "token", "secret")


def test_the_command_prints_a_link_and_leaves_nothing(folder, tmp_path, lycb):
    port, path = free_port(), tmp_path / "token"
    options = ["--store", folder, "--port", port, "--token-file", path]
    process = spawn(
        [sys.executable, "-m", "lycb_flows.cli.app", "serve", *options],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    link = process.stdout.readline()
    assert re.fullmatch(rf"http://127\.0\.0\.1:{port}/login\?code=[\w-]{{43}}\n", link)
    said = "".join(process.stdout.readline() for _ in range(3))
    assert "Read-only" in said
    assert "TLS" not in said
    token = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert token not in link + said
    assert_one_line(lycb("serve", *options), "cannot listen here", str(port))
    assert path.read_text().strip() == token
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()
    assert not path.exists()


def test_another_address_is_taken_with_a_word_on_tls(folder, tmp_path, lycb, monkeypatch):
    from lycb_flows.serve import server  # noqa: PLC0415 - its attribute is replaced

    monkeypatch.setattr(server.uvicorn.Server, "run", lambda *_, **__: None)
    options = ["--store", folder, "--port", free_port(), "--token-file", tmp_path / "token"]
    code, out, _ = lycb("serve", "--host", "0.0.0.0", *options)  # noqa: S104 - nothing is accepted
    assert code == 0
    assert "There is no TLS" in out
    assert_one_line(lycb("serve", *options[2:], "--store", tmp_path / "none"), "no result store")


# -- many pages ---------


def test_500_event_streams_are_open_and_the_next_is_refused_in_a_line(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with Served(folder) as server:
        links = []
        for _ in range(MAX_STREAMS):
            link, status = server.stream()
            links.append(link)
            assert status == 200
        status, _, body = server.ask("/events")
        assert status == 503
        assert body == b"lycb: 500 pages are open: close some, or reload by hand\n"
        begin = time.monotonic()
        assert "loop" in server.page("/")
        assert time.monotonic() - begin < 2.0
        assert "lycb_event_streams 500" in server.page("/metrics")
        for link in links[:2]:
            link.close()
        wait_until(lambda: "lycb_event_streams 498" in server.page("/metrics"), "the two to go")
        link, status = server.stream()
        assert status == 200
        for each in (*links, link):
            each.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
