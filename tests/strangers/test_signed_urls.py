"""Signed URLs of `convaid serve-signed-url`: the official client converses by one, a browser fetches one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

import pytest
import trio

from convaid.simulator import Agent, Scenario, SimulatorSettings, open_simulator
from convaid.simulator.scenario import Call, End, ExpectText
from tests.signed_urls.serving import SECRET, open_served
from tests.transport.servers import serve_raw

from .clients import API_KEY, find_node
from .programs import require

SUM = Scenario(
    agent=Agent(requires_authorization=True, first_message="Hello {{name}}."),
    steps=[ExpectText("two and three"), Call("add", {"a": 2, "b": 3}, expect_result="^5$"), End()],
)
LIMIT = 40.0  # seconds for a stranger
PAGE = """<!doctype html><body><script>
const ask = async (headers) => {
  try {
    const answer = await fetch("SERVER/signed-url?conversation=main", { headers });
    return [answer.status, Object.keys(await answer.json())[0]];
  } catch (error) {
    return ["kept off"];
  }
};
(async () => {
  const seen = [await ask({ Authorization: "Bearer SECRET" }), await ask({ Authorization: "Bearer wrong" })];
  document.body.textContent = JSON.stringify(seen);
})();
</script></body>"""


@pytest.fixture
def node() -> Sequence[str]:
    """The program that converses by the official JavaScript client."""
    return find_node()


@pytest.fixture
def chromium() -> str:
    """A browser."""
    browser = shutil.which("chromium")
    require(browser is not None, "Chromium", "apt-get install chromium")
    return str(browser)


async def test_the_official_client_converses_by_one(node: Sequence[str]) -> None:
    async with (
        open_simulator(SimulatorSettings([SUM], API_KEY)) as simulator,
        open_served(simulator.base_url, key=API_KEY) as served,
    ):
        signed_url = (await served.ask("/signed-url?conversation=main")).json()["signed_url"]
        plan = {"url": simulator.base_url, "signed_url": signed_url, "do": [["say", "What is two and three?"]]}
        asked = json.dumps({"speech": "", "plans": {"sum": plan}}).encode()
        done = await trio.run_process(node, stdin=asked, capture_stdout=True, capture_stderr=True)
        record = await simulator.wait_conversation(0)
    seen = json.loads(done.stdout.splitlines()[-1])["sum"]
    assert seen["connected"] == record.conversation_id
    assert seen["ended"][0] == "agent"
    assert [call.result for call in record.calls] == ["5"]


@pytest.mark.parametrize("is_listed", [True, False])
async def test_a_browser_fetches_one_for_a_page_of_a_listed_origin(is_listed: bool, chromium: str) -> None:
    address = ""

    async def show(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        page = PAGE.replace("SERVER", address).replace("SECRET", SECRET).encode()
        head = b"HTTP/1.1 200 X\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
            page
        )
        await stream.send_all(head + page)

    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    with trio.fail_after(LIMIT):
        async with open_simulator(SimulatorSettings([SUM], API_KEY)) as simulator, serve_raw(show) as port:
            origin = f"http://127.0.0.1:{port}"
            origins = [origin] if is_listed else ["https://app.example.com"]
            settings = f"origins = {json.dumps(origins)}"
            async with open_served(simulator.base_url, settings=settings, secret=SECRET, key=API_KEY) as served:
                address = served.address
                done = await trio.run_process([*command, origin], capture_stdout=True, capture_stderr=True)
    seen = '[[200,"signed_url"],[401,"error"]]' if is_listed else '[["kept off"],["kept off"]]'
    assert seen in done.stdout.decode(), done.stdout
