"""LocalNetwork: the children of one `up`, what other commands may ask of them, and faults injected on request."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ..node.runtime.procs import list_descendants
from ..sdk.wallet import Wallet
from . import creation, faults
from . import layout as places
from .dockercopies import DockerCopies, find_socket, node_subnets
from .failing import wait_failing
from .layout import Layout, NetworkFile
from .output import CliError, Output
from .processes import PidFile, kill_copies, list_copy_pids
from .reading import read_or_explain
from .supervisor import Child, ChildSpec, Supervisor

FAULTS = ("kill", "stop", "cut")
PIDS_INTERVAL_S = 0.5


class LocalNetwork:
    """Starts and stops the daemons of one directory and answers its control socket."""

    def __init__(self, layout: Layout, network: NetworkFile, proxy: str, output: Output) -> None:
        self.layout = layout
        self.network = network
        self.proxy = proxy
        self.docker = DockerCopies(network) if network.engine == "docker" else None
        self.output = output
        self.supervisor = Supervisor()
        self.stopping = asyncio.Event()
        self.ready = False
        self.has_hello = False
        self.problem = ""
        self.faults: dict[str, str] = {}
        self.gateway_ports: dict[str, int] = {}
        self.subnet = read_or_explain(layout.genesis, _find_subnet)
        self.account = read_or_explain(layout.key(creation.ACCOUNT), Wallet.load).address
        self._pids_task: asyncio.Task[None] | None = None

    # --- start and stop ---------------------------------------------------------------------------------------------

    async def start(self, chain_port: int, gateway_ports: list[int]) -> None:
        """Start every daemon. They find each other by themselves, so the order does not matter."""
        chain_url = f"http://127.0.0.1:{chain_port}"
        self.gateway_ports = dict(zip(self.network.gateways, gateway_ports, strict=True))
        creation.write_context(self.layout, chain_url, f"127.0.0.1:{gateway_ports[0]}")
        await self._start("chain", "chain", creation.write_chain_config(self.layout, chain_port))
        for number, (name, node_id) in enumerate(self.network.nodes.items(), 1):
            faults.heal(self._address(name))
            endpoint = places.node_endpoint(self.subnet, number)
            config = creation.write_node_config(
                self.layout, name, node_id, endpoint, chain_url, self._choose_engines(number)
            )
            await self._start(name, "node", config)
        for name, gateway_id in self.network.gateways.items():
            port = self.gateway_ports[name]
            config = creation.write_gateway_config(self.layout, name, gateway_id, port, chain_url, self.proxy)
            await self._start(name, "gateway", config)
        self._pids_task = asyncio.create_task(self._keep_pid_file())

    def _choose_engines(self, number: int) -> dict[str, str]:
        """The part of a node's configuration that says what it runs copies and its ingress with."""
        if self.network.engine != "docker":
            return {"proxy": self.proxy}
        docker = {"docker_socket": find_socket(), "docker_subnets": node_subnets(number)}
        return {"proxy": self.proxy, "runtime": "docker", **docker}

    async def _start(self, name: str, kind: str, config: Path) -> None:
        argv = (sys.executable, "-m", "fluxcloud.cli.daemon", kind, str(config))
        await self.supervisor.start(ChildSpec(name, argv, self.layout.log(name), os.environ))

    async def _keep_pid_file(self) -> None:
        """So that a later `up` knows what to end if this one is killed."""
        file = PidFile(self.layout)
        written: dict[str, int] = {}
        while True:
            pids = {name: child.pid for name, child in self.supervisor.children.items() if child.pid is not None}
            if pids != written:
                file.write(pids)
                written = pids
            await asyncio.sleep(PIDS_INTERVAL_S)

    async def stop(self) -> None:
        """Stop the daemons, then the copies; visitors first lose the gateway."""
        if self._pids_task is not None:
            self._pids_task.cancel()
        for name in list(self.faults):
            await self._end_fault(name)
        await self.supervisor.stop(*self.network.gateways)
        await self.supervisor.stop(*self.network.nodes)
        await asyncio.to_thread(kill_copies, self.layout)
        if self.docker is not None:
            await self.docker.kill_all()
        await self.supervisor.stop("chain")
        await self.supervisor.close()

    async def make_ready(self, *, deploy_hello: bool) -> None:
        """Wait until the network serves; with `deploy_hello`, the hello app too. Raises CliError where a daemon can't
        run."""
        failing = asyncio.create_task(wait_failing(self.supervisor.children.values()))
        serving = asyncio.create_task(self._wait_serving(deploy_hello=deploy_hello))
        try:
            done, _ = await asyncio.wait({failing, serving}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            for task in (failing, serving):
                task.cancel()
            await asyncio.gather(failing, serving, return_exceptions=True)
        self.ready = True

    async def _wait_serving(self, *, deploy_hello: bool) -> None:
        from .readiness import wait_hello, wait_network

        await wait_network(self.layout)
        if deploy_hello:
            await wait_hello(self.layout)
            self.has_hello = True

    # --- the control socket -----------------------------------------------------------------------------------------

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of another command. Raises CliError where it can't be done."""
        verb = request["verb"]
        if verb == "status":
            return self.describe()
        if verb == "down":
            self.stopping.set()
            return {}
        if verb == "pids":
            return {name: list_copy_pids(self.layout, name) for name in self.network.nodes}
        if verb == "fault":
            return await self._begin_fault(request["kind"], self._check_node(request["node"]))
        if verb == "start":
            return await self._heal(self._check_node(request["node"]))
        raise CliError(f"unknown request {verb!r}")

    def describe(self) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "problem": self.problem,
            "data": str(self.layout.root),
            "account": creation.ACCOUNT,
            "address": self.account.hex(),
            "gateways": {name: f"127.0.0.1:{port}" for name, port in self.gateway_ports.items()},
            "engine": self.network.engine,
            "proxy": self.proxy,
            "supervisor_pid": os.getpid(),
            "processes": [self._describe_child(child) for child in self.supervisor.children.values()],
        }

    def _describe_child(self, child: Child) -> dict[str, Any]:
        fault = self.faults.get(child.spec.name)
        past = {"kill": "killed", "stop": "stopped", "cut": "cut off"}
        state = past[fault] if fault else "running" if child.pid else "starting again"
        up_s = asyncio.get_running_loop().time() - child.started_s if child.pid else 0
        kind = self._kind_of(child.spec.name)
        return {
            **{"name": child.spec.name, "kind": kind, "pid": child.pid, "state": state},
            **{"restarts": child.restarts, "last_exit": child.last_exit, "up_s": round(up_s, 1)},
        }

    def _describe_hello(self) -> str:
        if not self.has_hello:
            return " -  hello    not deployed (--no-demo)"
        return f"ok  hello    http://hello.{places.ZONE}:{next(iter(self.gateway_ports.values()))}"

    def _kind_of(self, name: str) -> str:
        return "node" if name in self.network.nodes else "gateway" if name in self.network.gateways else "chain"

    def _check_node(self, name: str) -> str:
        if name not in self.network.nodes:
            known = ", ".join(self.network.nodes)
            raise CliError(f"no local node {name!r}; there are {known}", exit_code=4, hints=("fluxcloud node list",))
        return name

    # --- faults -----------------------------------------------------------------------------------------------------

    async def _begin_fault(self, kind: str, name: str) -> dict[str, Any]:
        """Break a node the way machines break: at once, copies included, without telling anybody."""
        if kind not in FAULTS:
            raise CliError(f"unknown fault {kind!r}; there are {', '.join(FAULTS)}")
        if name in self.faults:
            hints = (f"fluxcloud node start {name}",)
            raise CliError(f"{name} is already broken ({self.faults[name]})", exit_code=6, hints=hints)
        if kind == "cut":
            faults.cut(self._address(name))  # first, for it may not be possible here
        child = self.supervisor.hold(name)
        self.faults[name] = kind
        began = time.monotonic()
        if kind != "cut":
            number = signal.SIGKILL if kind == "kill" else signal.SIGSTOP
            faults.signal_all(self._list_pids(child), number)
            if kind == "kill":
                await asyncio.to_thread(kill_copies, self.layout, name)
            if self.docker is not None:
                await (self.docker.kill(name) if kind == "kill" else self.docker.freeze(name))
        return {"node": name, "kind": kind, "at": began}

    async def _heal(self, name: str) -> dict[str, Any]:
        if name not in self.faults:
            raise CliError(f"{name} runs already", exit_code=6, hints=(f"fluxcloud node kill {name}",))
        kind = await self._end_fault(name)
        await self.supervisor.release(name)
        return {"node": name, "kind": kind}

    async def _end_fault(self, name: str) -> str:
        kind = self.faults.pop(name)
        if kind == "cut":
            faults.heal(self._address(name))
        elif kind == "stop":
            if self.docker is not None:
                await self.docker.thaw(name)
            faults.signal_all(self._list_pids(self.supervisor.children[name]), signal.SIGCONT)
        return kind

    def _list_pids(self, child: Child) -> list[int]:
        """Everything of a node: its agent, what the agent has started (a proxy), and its copies."""
        own = list_descendants([child.pid]) if child.pid is not None else []
        return list(dict.fromkeys((*own, *list_copy_pids(self.layout, child.spec.name))))

    # --- what people see --------------------------------------------------------------------------------------------

    def _address(self, name: str) -> str:
        number = list(self.network.nodes).index(name) + 1
        return places.node_endpoint(self.subnet, number).host

    def render_screen(self, took_s: float) -> str:
        """The first screen (PRODUCT.md 1)."""
        from .readiness import describe_engine

        nodes, ports = len(self.network.nodes), list(self.gateway_ports.values())
        ok, note = describe_engine(self.network.engine)
        mark = "ok" if ok else " !"
        gateway = f"http://*.{places.ZONE}:{ports[0]} ({self.proxy})" + "".join(f", :{port}" for port in ports[1:])
        lines = [
            f"FluxCloud  local network, data in {self.layout.root}",
            f"  ok  ledger    {'solo, blocks of 500 ms':<42}ok  gateway  {gateway}",
            f"  ok  nodes     {f'{nodes} nodes of {nodes} operators, minimal preset':<42}{mark}  engine   {note}",
            f"  ok  account   {f'{creation.ACCOUNT}, {creation.ACCOUNT_FLUX:,} test FLUX':<42}{self._describe_hello()}",
            f"Each node offers {places.MCPU // 1000} CPUs and {places.MEM_MIB // 1024} GiB whatever this machine has. "
            f"Ready in {took_s:.1f} s.",
            "Try  1 fluxcloud demo failover     kills a node under load and counts failed requests",
            "     2 fluxcloud deploy .          your own folder",
            "     3 fluxcloud node kill n3      then: fluxcloud ps --watch",
            "Ctrl-C stops everything; fluxcloud up brings it back with the same state.",
        ]
        return "\n".join(lines)


def _find_subnet(genesis: Path) -> int:
    from ..ledger.genesis_file import parse_genesis

    return int(parse_genesis(genesis.read_text()).nodes[0].endpoint.host.split(".")[1])
